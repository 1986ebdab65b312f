/* A config.json in: the configuration that comes out keeps its promises. */
#include "fuzz.h"
#include "model/config.h"
#include <math.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    json_t *json;
    struct model_config c;
    if (json_parse(&json, (const char *)data, n, "'input'"))
        return 0;
    if (!config_from_json(&c, json, "'input'")) {
        const struct nn_config *k = &c.nn;
        if (!k->L || k->L > NN_LAYERS_MAX || !k->D || k->D > NN_HEAD_DIM_MAX || !k->K || k->H % k->K || !k->V)
            abort();
        for (size_t i = 0; !k->encoder && i < k->D / 2; i++)
            if (!isfinite(k->rope_inverse[0][i]) || !isfinite(k->rope_inverse[1][i]))
                abort();
    }
    json_decref(json);
    return 0;
}
