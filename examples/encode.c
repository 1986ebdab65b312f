/*
 * Encodes two texts in a program of one's own and says how alike they are:
 *
 *     cc encode.c $(pkg-config --cflags --libs trawl) -o encode
 *     ./encode minilm "statins lower cholesterol" "cholesterol is lowered by statins"
 */
#include <stdio.h>
#include <stdlib.h>
#include <trawl.h>

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: encode MODEL TEXT TEXT\n");
        return 2;
    }
    struct trawl_encoder *encoder;
    struct trawl_encoder_options options = {.size = sizeof options, .precision = "f32"};
    if (trawl_encoder_open(&encoder, argv[1], &options)) {
        fprintf(stderr, "cannot open the encoder: %s\n", trawl_message());
        return 1;
    }
    size_t dims = trawl_encoder_dims(encoder);
    const char *texts[] = {argv[2], argv[3]};
    float *vectors = malloc(2 * dims * sizeof *vectors);
    int code = 1;
    if (vectors && trawl_encoder_encode(encoder, vectors, texts, NULL, 2, false) == TRAWL_OK) {
        double cosine = 0.0; /* the vectors have length 1 */
        for (size_t i = 0; i < dims; i++)
            cosine += (double)vectors[i] * (double)vectors[dims + i];
        printf("%.4f in %zu dimensions\n", cosine, dims);
        code = 0;
    } else {
        fprintf(stderr, "cannot encode: %s\n", trawl_message());
    }
    free(vectors);
    trawl_encoder_close(encoder);
    return code;
}
