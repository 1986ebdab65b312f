/* trawl: the program. This file finds the subcommand; each has a file of its own. */
#include "cmd.h"
#include "base/opt.h"
#include <stdio.h>
#include <string.h>

static const struct command {
    const char *name, *group;
    int (*run)(int argc, char **argv);
} commands[] = {
#define X(name, group) {#name, group, cmd_##name},
    COMMANDS(X)
#undef X
        {NULL, NULL, NULL}};

static const struct command *find(const char *name)
{
    for (const struct command *c = commands; c->name; c++)
        if (!strcmp(c->name, name))
            return c;
    return NULL;
}

static void print_overview(FILE *out)
{
    const char *group = "";
    fputs("trawl: a causal language model as a text retriever, on plain CPUs\n\n"
          "usage: trawl COMMAND [OPTIONS]     trawl COMMAND --help     trawl --version\n",
          out);
    for (const struct command *c = commands; c->name; c++) {
        const struct trawl_stage *stage = trawl_stage_find(c->name);
        if (strcmp(group, c->group) != 0)
            fprintf(out, "\n%s\n", c->group);
        group = c->group;
        fprintf(out, "  %-10s %s\n", c->name, stage ? stage->summary : "");
    }
    fputs("\nenvironment\n"
          "  TRAWL_MODELS   folder of the named models (default: $XDG_CACHE_HOME/trawl, else ~/.cache/trawl)\n"
          "  TRAWL_THREADS  threads to use (default: all processors)\n"
          "  TRAWL_ISA      instruction set: ref, avx2 or avx512 (default: the best that the processor has)\n"
          "\nexample\n"
          "  trawl index --corpus corpus.jsonl --output my.index --bm25 --dense minilm --model minilm\n"
          "  trawl search --index my.index \"do statins raise blood sugar\"\n",
          out);
}

static int unknown(const char *name)
{
    const char *names[sizeof commands / sizeof *commands] = {NULL};
    size_t n = 0;
    for (const struct command *c = commands; c->name; c++)
        names[n++] = c->name;
    const char *nearest = opt_nearest(name, strlen(name), names, n);
    fprintf(stderr, "trawl: no command '%s' (", name);
    if (nearest)
        fprintf(stderr, "did you mean '%s'? ", nearest);
    fputs("'trawl --help' lists all)\n", stderr);
    return 2;
}

static int print_buf(enum trawl_status status, struct buf *text)
{
    if (!status)
        fwrite(text->data, 1, text->n, stdout);
    buf_release(text);
    return cmd_end(NULL, "help", status);
}

/* The main page: the overview, as it is printed. */
static int print_main_page(void)
{
    fputs("trawl(1) \"\" \"Trawl manual\"\n\n# NAME\n\ntrawl - a causal language model as a text retriever, on plain "
          "CPUs\n\n# SYNOPSIS\n\n*trawl* _COMMAND_ [_OPTIONS_]\n\n# DESCRIPTION\n\n"
          "Each command has its own page, _trawl-COMMAND_(1).\n\n```\n",
          stdout);
    print_overview(stdout);
    fputs("```\n", stdout);
    return cmd_end(NULL, "help", TRAWL_OK);
}

/* For the build: the page of one command in scdoc's language. */
static int print_man(const char *name)
{
    struct buf text = {0};
    const struct trawl_stage *stage = name ? trawl_stage_find(name) : NULL;
    if (!name)
        return print_main_page();
    return stage ? print_buf(opt_man(&text, stage, &cmd_common), &text) : unknown(name);
}

static int print_completion(void)
{
    struct buf text = {0};
    size_t n;
    const struct trawl_stage *const *stages = trawl_stages(&n);
    return print_buf(opt_complete_bash(&text, stages, n, &cmd_common), &text);
}

static int help(const char *name)
{
    if (!name) {
        print_overview(stdout);
        return cmd_end(NULL, "help", TRAWL_OK);
    }
    const struct command *c = find(name);
    char *line[] = {(char *)(uintptr_t)name, (char[]){"--help"}, NULL};
    return c ? c->run(2, line) : unknown(name);
}

int main(int argc, char **argv)
{
    const char *first = argc > 1 ? argv[1] : NULL, *second = argc > 2 ? argv[2] : NULL;
    if (!first) {
        print_overview(stderr);
        return 2;
    }
    if (!strcmp(first, "--help") || !strcmp(first, "-h") || !strcmp(first, "help"))
        return help(second);
    if (!strcmp(first, "--version")) {
        printf("trawl %s\n", trawl_version());
        return cmd_end(NULL, "version", TRAWL_OK);
    }
    if (!strcmp(first, "--man"))
        return print_man(second);
    if (!strcmp(first, "--completion"))
        return print_completion();
    const struct command *c = find(first);
    return c ? c->run(argc - 1, argv + 1) : unknown(first);
}
