/*
 * Progress on standard error. On a terminal one line is redrawn; elsewhere a line is printed every ten seconds, and one
 * at the end of work that took more than two.
 */
#include "cmd.h"
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static struct {
    const char *what;
    double begin, printed; /* seconds */
    uint64_t first;        /* done when the work began here: resumed work is no rate of ours */
    bool terminal, drawn;
} shown;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void put_time(char *out, size_t room, double seconds)
{
    unsigned long s = (unsigned long)(seconds + 0.5);
    if (s < 60)
        snprintf(out, room, "%lus", s);
    else if (s < 3600)
        snprintf(out, room, "%lum%02lus", s / 60, s % 60);
    else
        snprintf(out, room, "%luh%02lum", s / 3600, s / 60 % 60);
}

static size_t width(void)
{
    struct winsize size;
    return !ioctl(STDERR_FILENO, TIOCGWINSZ, &size) && size.ws_col > 20 ? size.ws_col - 1u : 79;
}

/* Bytes (unit "B") are shown as megabytes. */
static void put_amount(char *out, size_t room, uint64_t n, bool bytes)
{
    if (bytes)
        snprintf(out, room, "%.1f", (double)n * 1e-6);
    else
        snprintf(out, room, "%llu", (unsigned long long)n);
}

/* ", 56/s, 1m10s left" */
static void put_pace(char *out, size_t room, uint64_t done, uint64_t total, bool bytes, double elapsed)
{
    char time[32];
    double rate = elapsed > 0 && done > shown.first ? (double)(done - shown.first) / elapsed : 0;
    double pace = bytes ? rate * 1e-6 : rate;
    int n = 0;
    *out = '\0';
    if (rate > 0)
        n = snprintf(out, room, pace < 10 ? ", %.2f%s/s" : ", %.0f%s/s", pace, bytes ? " MB" : "");
    put_time(time, sizeof time, done < total && rate > 0 ? (double)(total - done) / rate : elapsed);
    if (total && done >= total)
        snprintf(out + n, room - (size_t)n, ", took %s", time);
    else if (total && rate > 0)
        snprintf(out + n, room - (size_t)n, ", %s left", time);
}

/* "encode: 1200 of 5183 documents, 23%, 56/s, 1m10s left" */
static void describe(char *out, size_t room, uint64_t done, uint64_t total, const char *unit, double elapsed)
{
    char now_done[32], all[32], pace[96];
    bool bytes = !strcmp(unit, "B");
    put_amount(now_done, sizeof now_done, done, bytes);
    put_amount(all, sizeof all, total, bytes);
    put_pace(pace, sizeof pace, done, total, bytes, elapsed);
    if (bytes)
        unit = "MB";
    if (total && done < total)
        snprintf(out, room, "%s: %s of %s %s, %d%%%s", shown.what, now_done, all, unit,
                 (int)(100.0 * (double)done / (double)total), pace);
    else
        snprintf(out, room, "%s: %s %s%s", shown.what, now_done, unit, pace);
}

static void show(void *ctx, const char *what, uint64_t done, uint64_t total, const char *unit)
{
    (void)ctx;
    char line[256];
    double t = now();
    if (!shown.what || strcmp(shown.what, what) != 0) {
        shown.what = what;
        shown.begin = shown.printed = t;
        shown.first = done;
    }
    bool end = total && done >= total;
    double elapsed = t - shown.begin;
    describe(line, sizeof line, done, total, unit, elapsed);
    if (shown.terminal) {
        fprintf(stderr, "\r\033[K%.*s", (int)width(), line);
        shown.drawn = true;
        if (end && elapsed > 2) {
            fputc('\n', stderr);
            shown.drawn = false;
        }
        fflush(stderr);
    } else if (end ? elapsed > 2 : t - shown.printed >= 10) {
        fprintf(stderr, "%s\n", line);
        shown.printed = t;
    }
    if (end)
        shown.what = NULL;
}

void cmd_clear_progress(void)
{
    if (shown.drawn)
        fputs("\r\033[K", stderr);
    shown.drawn = false;
}

void cmd_show_progress(bool wanted)
{
    shown.terminal = isatty(STDERR_FILENO);
    trawl_set_progress(wanted ? show : NULL, NULL);
}
