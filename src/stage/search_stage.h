/* The options of the search stage as the searcher takes them; for the stages and handles that search. */
#ifndef STAGE_SEARCH_STAGE_H
#define STAGE_SEARCH_STAGE_H
#include "search/search.h"

/* USAGE for a mode or fusion that does not exist, a field that the index does not have, or two of one kind. */
MUST_USE enum trawl_status search_options_take(struct search_options *out, const struct index *ix,
                                               const struct trawl_search_options *options);

#endif
