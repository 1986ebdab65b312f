/* Contracts: what is taken is written and read again, and is then the same. */
#include "fuzz.h"
#include "data/contract.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct contract c, back;
    json_t *json, *again;
    if (json_parse(&json, (const char *)data, n, "'input'"))
        return 0;
    if (!contract_from_json(&c, json, "'input'")) {
        if (contract_to_json(&again, &c) || contract_from_json(&back, again, "'again'") ||
            contract_check(&c, &back, "'again'"))
            abort();
        json_decref(again);
    }
    json_decref(json);
    return 0;
}
