// Lucene, asked by run.py: java -cp anserini.jar LuceneBench.java CORPUS.jsonl QUERIES.tsv FOLDER
// One thread. First line: seconds and processor seconds of building. Then every line "K" is answered with the
// milliseconds of each query.
import com.fasterxml.jackson.databind.*;
import java.io.*;
import java.lang.management.*;
import java.nio.file.*;
import java.util.*;
import org.apache.lucene.analysis.*;
import org.apache.lucene.analysis.en.*;
import org.apache.lucene.analysis.standard.*;
import org.apache.lucene.analysis.tokenattributes.*;
import org.apache.lucene.document.*;
import org.apache.lucene.index.*;
import org.apache.lucene.search.*;
import org.apache.lucene.search.similarities.BM25Similarity;
import org.apache.lucene.store.*;

public class LuceneBench {
    static class English extends Analyzer {
        protected TokenStreamComponents createComponents(String field) {
            Tokenizer source = new StandardTokenizer();
            TokenStream s = new LowerCaseFilter(new EnglishPossessiveFilter(source));
            return new TokenStreamComponents(source,
                new PorterStemFilter(new StopFilter(s, EnglishAnalyzer.ENGLISH_STOP_WORDS_SET)));
        }
    }

    static Query parse(Analyzer analyzer, String text) throws IOException {
        BooleanQuery.Builder builder = new BooleanQuery.Builder();
        Map<String, Integer> counts = new LinkedHashMap<>();
        try (TokenStream s = analyzer.tokenStream("text", text)) {
            CharTermAttribute term = s.addAttribute(CharTermAttribute.class);
            for (s.reset(); s.incrementToken();)
                counts.merge(term.toString(), 1, Integer::sum);
        }
        for (Map.Entry<String, Integer> e : counts.entrySet())
            builder.add(new BoostQuery(new TermQuery(new Term("text", e.getKey())), e.getValue()),
                BooleanClause.Occur.SHOULD);
        return builder.build();
    }

    public static void main(String[] args) throws Exception {
        Analyzer analyzer = new English();
        ThreadMXBean cpu = ManagementFactory.getThreadMXBean();
        long begin = System.nanoTime(), begin_cpu = cpu.getCurrentThreadCpuTime();
        Directory folder = FSDirectory.open(Paths.get(args[2]));
        IndexWriterConfig config = new IndexWriterConfig(analyzer);
        config.setSimilarity(new BM25Similarity(0.9f, 0.4f)).setRAMBufferSizeMB(512);
        config.setOpenMode(IndexWriterConfig.OpenMode.CREATE).setMergeScheduler(new SerialMergeScheduler());
        FieldType type = new FieldType();
        type.setIndexOptions(IndexOptions.DOCS_AND_FREQS);
        type.setTokenized(true);
        type.setStored(true);
        type.freeze();
        ObjectMapper json = new ObjectMapper();
        try (IndexWriter writer = new IndexWriter(folder, config);
             BufferedReader in = Files.newBufferedReader(Paths.get(args[0]))) {
            for (String line; (line = in.readLine()) != null;) {
                JsonNode node = json.readTree(line);
                Document doc = new Document();
                doc.add(new StringField("id", node.get("_id").asText(), Field.Store.YES));
                doc.add(new Field("text", node.get("text").asText(), type));
                writer.addDocument(doc);
            }
            writer.forceMerge(1);
        }
        System.out.printf("%.3f %.3f%n", (System.nanoTime() - begin) * 1e-9,
            (cpu.getCurrentThreadCpuTime() - begin_cpu) * 1e-9);
        IndexSearcher searcher = new IndexSearcher(DirectoryReader.open(folder));
        searcher.setSimilarity(new BM25Similarity(0.9f, 0.4f));
        searcher.setQueryCache(null);
        List<String> queries = new ArrayList<>();
        for (String line : Files.readAllLines(Paths.get(args[1])))
            queries.add(line.substring(line.indexOf('\t') + 1));
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = in.readLine()) != null;) {
            int k = Integer.parseInt(line.trim());
            StringBuilder times = new StringBuilder();
            for (String query : queries) {
                long start = System.nanoTime();
                TopScoreDocCollector c = TopScoreDocCollector.create(k, k);
                searcher.search(parse(analyzer, query), c);
                c.topDocs();
                times.append((System.nanoTime() - start) * 1e-6).append(' ');
            }
            System.out.println(times);
        }
    }
}
