/*
 * safetensors: a JSON header and the bytes of the tensors, in one file or in several with an index. Foreign bytes:
 * sizes, overlaps and holes are checked before any tensor is looked at.
 */
#ifndef MODEL_SAFETENSORS_H
#define MODEL_SAFETENSORS_H
#include "tensors.h"

/* Adds the tensors of one file. */
MUST_USE enum trawl_status safetensors_open(struct tensor_set *set, const char *path);
/* Adds those of model.safetensors, or of the files that model.safetensors.index.json names, in `folder`. */
MUST_USE enum trawl_status safetensors_open_folder(struct tensor_set *set, const char *folder);

#endif
