#include "report.h"
#include "base/json.h"
#include "base/mem.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- metrics.jsonl ---- */

/* A number, or null where JSON has none for it. */
static void put(FILE *f, const char *name, double x)
{
    if (isfinite(x))
        fprintf(f, ", \"%s\": %.9g", name, x);
    else
        fprintf(f, ", \"%s\": null", name);
}

/* Keeps the whole lines of steps up to `step`. */
static enum trawl_status cut_metrics(const char *path, uint64_t step)
{
    struct buf text = {0};
    struct file_writer w;
    TRY(file_read(&text, path, SIZE_MAX / 4));
    enum trawl_status status = file_writer_open(&w, path);
    if (status) {
        buf_release(&text);
        return status;
    }
    const char *at = text.data, *end = text.data ? text.data + text.n : NULL;
    while (!status && at < end) {
        const char *next = memchr(at, '\n', (size_t)(end - at));
        if (!next)
            break;
        next++;
        uint64_t line_step = 0;
        if (sscanf(at, "{\"step\": %" SCNu64, &line_step) == 1 && line_step <= step)
            status = file_write(&w, at, (size_t)(next - at));
        at = next;
    }
    buf_release(&text);
    if (!status)
        return file_writer_commit(&w);
    file_writer_abort(&w);
    return status;
}

enum trawl_status metrics_open(struct metrics *m, const char *path, uint64_t step)
{
    m->file = NULL;
    if (file_exists(path))
        TRY(cut_metrics(path, step));
    m->file = fopen(path, "a");
    return m->file ? TRAWL_OK : fail_errno("cannot open '%s'", path);
}

static enum trawl_status flush(struct metrics *m)
{
    if (fflush(m->file) || ferror(m->file))
        return fail_errno("cannot write the metrics");
    return TRAWL_OK;
}

enum trawl_status metrics_add_step(struct metrics *m, const struct metrics_step *s)
{
    fprintf(m->file, "{\"step\": %" PRIu64 ", \"epoch\": %" PRIu64, s->step, s->epoch);
    put(m->file, "loss", s->loss);
    put(m->file, "lr", s->lr);
    put(m->file, "grad_norm", s->grad_norm);
    put(m->file, "temperature", s->tau);
    put(m->file, "positive_cosine", s->positive_cosine);
    put(m->file, "mean_cosine", s->mean_cosine);
    fprintf(m->file, ", \"tokens\": %" PRIu64, s->tokens);
    put(m->file, "tokens_per_second", s->tokens_per_second);
    put(m->file, "seconds", s->seconds);
    fputs("}\n", m->file);
    return flush(m);
}

enum trawl_status metrics_add_dev(struct metrics *m, uint64_t step, double ndcg)
{
    fprintf(m->file, "{\"step\": %" PRIu64, step);
    put(m->file, "dev_ndcg_cut_10", ndcg);
    fputs("}\n", m->file);
    return flush(m);
}

void metrics_close(struct metrics *m)
{
    if (m->file)
        fclose(m->file);
    m->file = NULL;
}

/* ---- report.html ---- */

static const struct curve {
    const char *key, *title;
} curves[] = {
    {"loss", "loss"},
    {"dev_ndcg_cut_10", "nDCG@10 on the dev set"},
    {"lr", "learning rate"},
    {"grad_norm", "gradient norm before clipping"},
    {"tokens_per_second", "tokens per second"},
    {"positive_cosine", "cosine of query and positive, mean of the batch"},
    {"mean_cosine", "cosine between positives of different queries (near 1: collapse)"},
    {"temperature", "temperature"},
};
enum { WIDTH = 640, HEIGHT = 200, MARGIN = 56 };

struct points {
    double *x, *y;
    size_t n, cap_x, cap_y;
};

static enum trawl_status read_points(struct points *p, const char *key, const struct buf *text)
{
    const char *at = text->data, *end = text->data ? text->data + text->n : NULL;
    p->n = 0;
    while (at < end) {
        const char *next = memchr(at, '\n', (size_t)(end - at));
        size_t n = next ? (size_t)(next - at) : (size_t)(end - at);
        json_t *line;
        TRY(json_parse(&line, at, n, "the metrics"));
        const json_t *value = json_object_get(line, key);
        enum trawl_status status = TRAWL_OK;
        if (json_is_number(value)) {
            status = mem_grow((void **)&p->x, &p->cap_x, p->n + 1, sizeof *p->x);
            if (!status)
                status = mem_grow((void **)&p->y, &p->cap_y, p->n + 1, sizeof *p->y);
            if (!status) {
                p->x[p->n] = json_number_value(json_object_get(line, "step"));
                p->y[p->n++] = json_number_value(value);
            }
        }
        json_decref(line);
        TRY(status);
        at += n + 1;
    }
    return TRAWL_OK;
}

static enum trawl_status draw_curve(struct file_writer *w, const struct curve *c, const struct points *p)
{
    double low = p->y[0], high = p->y[0], first = p->x[0], last = p->x[p->n - 1];
    for (size_t i = 0; i < p->n; i++) {
        low = fmin(low, p->y[i]);
        high = fmax(high, p->y[i]);
    }
    double dy = high > low ? high - low : 1.0, dx = last > first ? last - first : 1.0;
    TRY(file_printf(w,
                    "<figure><figcaption>%s: last %.6g, least %.6g, most %.6g</figcaption>\n<svg viewBox=\"0 0 %d %d\" "
                    "role=\"img\" aria-label=\"%s\"><line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\"/><line x1=\"%d\" "
                    "y1=\"8\" x2=\"%d\" y2=\"%d\"/><text x=\"%d\" y=\"16\">%.4g</text><text x=\"%d\" "
                    "y=\"%d\">%.4g</text><text x=\"%d\" y=\"%d\">step %.0f</text><text x=\"%d\" y=\"%d\" "
                    "text-anchor=\"end\">%.0f</text><polyline points=\"",
                    c->title, p->y[p->n - 1], low, high, WIDTH, HEIGHT, c->title, MARGIN, HEIGHT - 24, WIDTH - 8,
                    HEIGHT - 24, MARGIN, MARGIN, HEIGHT - 24, 0, high, 0, HEIGHT - 26, low, MARGIN, HEIGHT - 6, first,
                    WIDTH - 8, HEIGHT - 6, last));
    for (size_t i = 0; i < p->n; i++)
        TRY(file_printf(w, "%.1f,%.1f ", MARGIN + (p->x[i] - first) / dx * (WIDTH - 8 - MARGIN),
                        HEIGHT - 24 - (p->y[i] - low) / dy * (HEIGHT - 32)));
    return file_printf(w, "\"/></svg></figure>\n");
}

static enum trawl_status escape(struct file_writer *w, const char *text)
{
    for (; *text; text++) {
        const char *entity = *text == '<' ? "&lt;" : *text == '>' ? "&gt;" : *text == '&' ? "&amp;" : NULL;
        TRY(entity ? file_write(w, entity, strlen(entity)) : file_write(w, text, 1));
    }
    return TRAWL_OK;
}

static enum trawl_status write_page(struct file_writer *w, const struct buf *text, const char *configuration)
{
    struct points p = {0};
    enum trawl_status status = file_printf(
        w, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>trawl train</title><style>\n"
           "body{font:15px sans-serif;max-width:1340px;margin:2em auto;padding:0 1em}figure{display:inline-block;"
           "width:640px;max-width:100%%;margin:0 8px 24px 0}svg{width:100%%;height:auto}line{stroke:#888}"
           "polyline{fill:none;stroke:#0a58a6;stroke-width:1.5}text{font-size:11px;fill:#555}"
           "pre{background:#f4f4f4;padding:1em;overflow:auto}</style></head><body>\n<h1>Training run</h1>\n");
    for (size_t i = 0; !status && i < sizeof curves / sizeof *curves; i++) {
        status = read_points(&p, curves[i].key, text);
        if (!status && p.n)
            status = draw_curve(w, &curves[i], &p);
    }
    free(p.x);
    free(p.y);
    if (!status)
        status = file_printf(w, "<h2>Configuration</h2>\n<pre>");
    if (!status)
        status = escape(w, configuration);
    return status ? status : file_printf(w, "</pre>\n</body></html>\n");
}

enum trawl_status report_write(const char *path, const char *metrics_path, const char *configuration)
{
    struct buf text = {0};
    struct file_writer w;
    TRY(file_read(&text, metrics_path, SIZE_MAX / 4));
    enum trawl_status status = file_writer_open(&w, path);
    if (!status) {
        status = write_page(&w, &text, configuration);
        if (!status)
            status = file_writer_commit(&w);
        else
            file_writer_abort(&w);
    }
    buf_release(&text);
    return status;
}
