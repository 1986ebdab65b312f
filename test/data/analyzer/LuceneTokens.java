import java.io.*; import java.nio.charset.StandardCharsets; import java.util.*;
import org.apache.lucene.analysis.*; import org.apache.lucene.analysis.standard.*; import org.apache.lucene.analysis.en.*; import org.apache.lucene.analysis.tokenattributes.*;
public class LuceneTokens {
  static Analyzer eng = new Analyzer(){ protected TokenStreamComponents createComponents(String f){ Tokenizer s=new StandardTokenizer(); TokenStream r=new EnglishPossessiveFilter(s); r=new LowerCaseFilter(r); r=new StopFilter(r, EnglishAnalyzer.ENGLISH_STOP_WORDS_SET); r=new PorterStemFilter(r); return new TokenStreamComponents(s,r);} };
  static Analyzer std = new Analyzer(){ protected TokenStreamComponents createComponents(String f){ Tokenizer s=new StandardTokenizer(); return new TokenStreamComponents(s,new LowerCaseFilter(s));} };
  static String run(Analyzer a,String t) throws Exception { StringBuilder b=new StringBuilder(); TokenStream s=a.tokenStream("f",t); CharTermAttribute c=s.addAttribute(CharTermAttribute.class); s.reset(); while(s.incrementToken()){ if(b.length()>0)b.append(' '); b.append(c.toString()); } s.end(); s.close(); return b.toString(); }
  public static void main(String[] x) throws Exception { BufferedReader r=new BufferedReader(new InputStreamReader(System.in,StandardCharsets.UTF_8)); PrintStream o=new PrintStream(new FileOutputStream(FileDescriptor.out),false,"UTF-8"); String l; while((l=r.readLine())!=null){ o.println(run(std,l)+"\t"+run(eng,l)); } o.flush(); }
}
