/* Inside data: the kinds of vectors files and the layout of Trawl's own (docs/formats/vecs.md). */
#ifndef VECTORS_INT_H
#define VECTORS_INT_H

enum vectors_kind { VECTORS_NPY, VECTORS_JSONL, VECTORS_VECS };
#define VECS_KIND "VECS"
#define VECS_VERSION 1

#endif
