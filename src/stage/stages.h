/* The stages' rows, each made beside its options table in src/stage/<name>.c. */
#ifndef STAGE_STAGES_H
#define STAGE_STAGES_H
#include <trawl.h>

#endif
