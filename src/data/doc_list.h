/* Inside data: growing the lists that qrels and runs are made of. */
#ifndef DOC_LIST_H
#define DOC_LIST_H
#include "data.h"

/* Entry of a document, appended when it is new (its value is then 0); the id is copied into *ids. */
MUST_USE enum trawl_status doc_list_put(struct doc_list *list, struct buf *ids, const char *id, size_t n,
                                        struct doc_entry **entry, bool *is_new);
void doc_list_release(struct doc_list *list);

/* The list of a query, made when it is new. */
MUST_USE enum trawl_status doc_lists_query(struct doc_list **list, struct map *queries, struct doc_list **items,
                                           size_t *cap, const char *query, size_t n);
/* Releases every list; the map and the ids too. */
void doc_lists_release(struct map *queries, struct doc_list **items, struct buf *ids);

/* Columns of a line separated by spaces and TABs; returns how many there are, also beyond max. */
struct column {
    const char *text;
    size_t n;
};
size_t split_columns(struct column *columns, size_t max, const char *line, size_t n);

#endif
