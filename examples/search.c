/*
 * Searches an index from a program of one's own:
 *
 *     cc search.c $(pkg-config --cflags --libs trawl) -o search
 *     ./search my.index "do statins lower cholesterol"
 */
#include <stdio.h>
#include <trawl.h>

static int failed(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, trawl_message());
    return 1;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: search INDEX QUERY\n");
        return 2;
    }
    struct trawl_index *index;
    if (trawl_index_open(&index, argv[1]))
        return failed("cannot open the index");

    /* What is searched and how: the options of `trawl search`, with its presets. */
    struct trawl_search_options options;
    trawl_options_init(&options, trawl_stage_find("search"));
    options.k = 3;

    /* One searcher for each thread; the index is shared. */
    struct trawl_searcher *searcher = NULL;
    const struct trawl_hit *hits;
    size_t n_hits;
    int code = 0;
    if (trawl_searcher_new(&searcher, index, &options))
        code = failed("cannot search it");
    else if (trawl_search_text(searcher, &hits, &n_hits, argv[2]))
        code = failed("the search failed");
    else
        for (size_t i = 0; i < n_hits; i++)
            printf("%zu. %s (%.3f) %s\n   %s\n", i + 1, hits[i].id, hits[i].score, hits[i].title, hits[i].snippet);

    if (!code)
        printf("of %llu documents\n", (unsigned long long)trawl_index_documents(index));
    trawl_searcher_free(searcher);
    trawl_index_close(index);
    return code;
}
