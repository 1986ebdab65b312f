#include "porter.h"
#include <stdbool.h>
#include <string.h>

/* Has word[0..n) a vowel followed by a consonant (measure above zero)? A 'y' is a vowel behind a consonant. */
static bool has_measure(const char *word, size_t n)
{
    bool vowel_before = false, consonant = true;
    for (size_t i = 0; i < n; i++) {
        bool y_vowel = word[i] == 'y' && i > 0 && consonant;
        consonant = !(y_vowel || (word[i] != '\0' && strchr("aeiou", word[i])));
        if (consonant && vowel_before)
            return true;
        vowel_before |= !consonant;
    }
    return false;
}

static bool ends(const char *word, size_t n, const char *suffix)
{
    size_t m = strlen(suffix);
    return n >= m && memcmp(word + n - m, suffix, m) == 0;
}

/* "trekking", "trekked": libstemmer takes only the usual letters' doubles apart. New length, or n. */
static size_t undouble(const char *word, size_t n)
{
    size_t tail = ends(word, n, "ing") ? 3 : ends(word, n, "ed") ? 2 : 0;
    if (!tail || n < tail + 3)
        return n;
    char last = word[n - tail - 1];
    bool rare = strchr("chjkqvwx", last) != NULL && word[n - tail - 2] == last;
    return rare && has_measure(word, n - tail) ? n - tail - 1 : n;
}

size_t porter_before(char *word, size_t n)
{
    static const struct {
        const char *tail, *change; /* the change has three bytes */
    } rows[] = {{"bly", "ble"}, {"bli", "ble"}, {"blies", "ble"}, {"logy", "log"}, {"logi", "log"}, {"logies", "log"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!ends(word, n, rows[i].tail))
            continue;
        size_t stem = n - strlen(rows[i].tail);
        if (!has_measure(word, stem))
            return n;
        memcpy(word + stem, rows[i].change, 3);
        return stem + 3;
    }
    return undouble(word, n);
}
