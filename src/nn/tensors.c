/* The table of tensors under a configuration: shapes, names, which must be there. */
#include "nn.h"
#include <assert.h>

const char *nn_tensor_name(enum nn_tensor tensor)
{
    static const char *const names[] = {
#define X(id, rows, cols, per_layer) #id,
        NN_TENSOR_TABLE(X)
#undef X
    };
    assert((unsigned)tensor < NN_T_COUNT);
    return names[tensor];
}

void nn_tensor_shape(const struct nn_config *config, enum nn_tensor tensor, size_t *rows, size_t *cols, bool *per_layer)
{
    const size_t V = config->V, C = config->C, D = config->D, F = config->F, HD = config->H * D, KD = config->K * D;
    const size_t positions = config->positions, token_types = config->token_types;
    const struct {
        size_t rows, cols;
        bool per_layer;
    } shapes[] = {
#define X(id, rows, cols, per_layer) {rows, cols, per_layer},
        NN_TENSOR_TABLE(X)
#undef X
    };
    assert((unsigned)tensor < NN_T_COUNT);
    *rows = shapes[tensor].rows;
    *cols = shapes[tensor].cols;
    if (per_layer)
        *per_layer = shapes[tensor].per_layer;
}

static enum nn_presence required_if(bool condition)
{
    return condition ? NN_REQUIRED : NN_ABSENT;
}

enum nn_presence nn_tensor_presence(const struct nn_config *config, enum nn_tensor tensor)
{
    bool layer_norm = config->norm == NN_LAYER_NORM, encoder = config->encoder;
    switch (tensor) {
    case NN_T_EMBED:
    case NN_T_ATTN_NORM:
    case NN_T_MLP_NORM:
    case NN_T_Q:
    case NN_T_K:
    case NN_T_V:
    case NN_T_O:
    case NN_T_UP:
    case NN_T_DOWN:
        return NN_REQUIRED;
    case NN_T_Q_BIAS:
    case NN_T_K_BIAS:
    case NN_T_V_BIAS:
    case NN_T_O_BIAS:
    case NN_T_DOWN_BIAS:
        return NN_OPTIONAL;
    case NN_T_UP_BIAS:
        return config->gated ? NN_ABSENT : NN_OPTIONAL;
    case NN_T_POSITION_EMBED:
    case NN_T_EMBED_NORM:
    case NN_T_EMBED_NORM_BIAS:
        return required_if(encoder);
    case NN_T_TYPE_EMBED:
        return required_if(config->token_types > 0);
    case NN_T_FINAL_NORM:
        return required_if(!encoder);
    case NN_T_FINAL_NORM_BIAS:
        return required_if(!encoder && layer_norm);
    case NN_T_ATTN_NORM_BIAS:
    case NN_T_MLP_NORM_BIAS:
        return required_if(layer_norm);
    case NN_T_HEAD:
        return required_if(config->has_head && !config->tied_head);
    case NN_T_Q_NORM:
    case NN_T_K_NORM:
        return required_if(config->qk_norm);
    case NN_T_POST_ATTN_NORM:
    case NN_T_POST_MLP_NORM:
        return required_if(config->sandwich_norm);
    case NN_T_GATE:
        return required_if(config->gated);
    case NN_T_COUNT:
        break;
    }
    assert(0 && "a tensor of the table");
    return NN_ABSENT;
}
