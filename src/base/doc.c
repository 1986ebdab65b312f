/* Texts made from the option tables: --help, the man page in scdoc's language, completion for bash. */
#include "opt.h"
#include <string.h>

enum { HELP_COLUMN = 28 };

/* Words of `text` in lines of at most `columns`, all but the first indented; `at` is the column where it begins. */
static enum trawl_status wrap(struct buf *out, const char *text, size_t at, size_t indent, size_t columns)
{
    for (bool first = true; *text;) {
        size_t n = strcspn(text, " \n");
        if (!first && at + 1 + n > columns) {
            TRY(buf_printf(out, "\n%*s", (int)indent, ""));
            at = indent;
        } else if (!first) {
            TRY(buf_text(out, " "));
            at++;
        }
        TRY(buf_append(out, text, n));
        at += n;
        text += n;
        text += strspn(text, " \n");
        first = false;
    }
    return TRAWL_OK;
}

/* Paragraphs are separated by empty lines; lines that begin with a space are kept as they are. */
static enum trawl_status wrap_paragraphs(struct buf *out, const char *text, size_t columns)
{
    while (*text) {
        size_t n = 0;
        while (text[n] && !(text[n] == '\n' && (!text[n + 1] || text[n + 1] == '\n' || text[n + 1] == ' ')))
            n++;
        struct buf paragraph = {0};
        enum trawl_status status = buf_append(&paragraph, text, n);
        if (!status)
            status = *text == ' ' ? buf_append(out, text, n) : wrap(out, paragraph.data, 0, 0, columns);
        buf_release(&paragraph);
        TRY(status);
        TRY(buf_text(out, "\n"));
        text += n;
        if (!strncmp(text, "\n\n", 2))
            TRY(buf_text(out, "\n"));
        text += strspn(text, "\n");
    }
    return TRAWL_OK;
}

static const char *placeholder(const struct trawl_option *option)
{
    if (option->kind == TRAWL_OPTION_FLAG)
        return NULL;
    return option->kind == TRAWL_OPTION_CHOICE ? option->choices : option->arg ? option->arg : "VALUE";
}

static enum trawl_status usage_line(struct buf *out, const struct trawl_stage *stage)
{
    TRY(buf_printf(out, "usage: trawl %s", stage->name));
    for (size_t i = 0; i < stage->n_options; i++) {
        const struct trawl_option *option = &stage->options[i];
        if (option->name && option->required)
            TRY(buf_printf(out, " --%s %s", option->name, placeholder(option)));
    }
    TRY(buf_text(out, " [OPTIONS]"));
    for (size_t i = 0; i < stage->n_options; i++) {
        const struct trawl_option *option = &stage->options[i];
        if (!option->name)
            TRY(buf_printf(out, option->required ? " %s%s" : " [%s]%s", option->arg,
                           option->kind == TRAWL_OPTION_LIST ? "..." : ""));
    }
    return buf_text(out, "\n");
}

/* "help (default: x; required; may be repeated)" */
static enum trawl_status describe(struct buf *out, const struct trawl_option *option)
{
    const char *notes[3];
    size_t n = 0;
    TRY(buf_text(out, option->help));
    if (option->required)
        notes[n++] = "required";
    if (option->kind == TRAWL_OPTION_LIST)
        notes[n++] = "may be repeated";
    if (option->preset && option->kind == TRAWL_OPTION_FLAG)
        notes[n++] = "on unless --no- is put before its name";
    for (size_t i = 0; i < n; i++)
        TRY(buf_printf(out, "%s%s", i ? "; " : " (", notes[i]));
    if (option->preset && option->kind != TRAWL_OPTION_FLAG)
        TRY(buf_printf(out, "%sdefault: %s", n++ ? "; " : " (", option->preset));
    return n ? buf_text(out, ")") : TRAWL_OK;
}

static enum trawl_status help_row(struct buf *out, const struct trawl_option *option, size_t columns)
{
    size_t begin = out->n;
    const char *value = placeholder(option);
    if (!option->name)
        TRY(buf_printf(out, "  %s", option->arg));
    else {
        if (option->letter)
            TRY(buf_printf(out, "  -%c, --%s", option->letter, option->name));
        else
            TRY(buf_printf(out, "  --%s", option->name));
        if (value)
            TRY(buf_printf(out, " %s", value));
    }
    size_t at = out->n - begin;
    if (at + 2 > HELP_COLUMN)
        TRY(buf_printf(out, "\n%*s", HELP_COLUMN, ""));
    else
        TRY(buf_printf(out, "%*s", (int)(HELP_COLUMN - at), ""));
    struct buf text = {0};
    enum trawl_status status = describe(&text, option);
    if (!status)
        status = wrap(out, text.data, HELP_COLUMN, HELP_COLUMN, columns);
    buf_release(&text);
    TRY(status);
    return buf_text(out, "\n");
}

static enum trawl_status help_examples(struct buf *out, const char *text)
{
    TRY(buf_text(out, "\nexamples:\n"));
    while (*text) {
        size_t n = strcspn(text, "\n");
        TRY(buf_printf(out, n ? "  %.*s\n" : "\n", (int)n, text));
        text += n + (text[n] == '\n');
    }
    return TRAWL_OK;
}

enum trawl_status opt_help(struct buf *out, const struct trawl_stage *stage, const struct trawl_stage *common,
                           size_t columns)
{
    if (columns < HELP_COLUMN + 30)
        columns = HELP_COLUMN + 30;
    TRY(buf_printf(out, "trawl %s: %s\n\n", stage->name, stage->summary));
    TRY(usage_line(out, stage));
    if (stage->details) {
        TRY(buf_text(out, "\n"));
        TRY(wrap_paragraphs(out, stage->details, columns));
    }
    TRY(buf_text(out, "\noptions:\n"));
    for (size_t i = 0; i < stage->n_options; i++)
        TRY(help_row(out, &stage->options[i], columns));
    for (size_t i = 0; common && i < common->n_options; i++)
        TRY(help_row(out, &common->options[i], columns));
    return stage->examples ? help_examples(out, stage->examples) : TRAWL_OK;
}

/* ---- scdoc ---- */

static enum trawl_status man_text(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (strchr("*_\\#`~[]<>|+-.", *text))
            TRY(buf_text(out, "\\"));
        TRY(buf_append(out, text, 1));
    }
    return TRAWL_OK;
}

static enum trawl_status man_option(struct buf *out, const struct trawl_option *option)
{
    const char *value = placeholder(option);
    if (!option->name) {
        TRY(buf_text(out, "_"));
        TRY(man_text(out, option->arg));
        TRY(buf_text(out, "_"));
    } else {
        TRY(buf_text(out, "*"));
        if (option->letter)
            TRY(buf_printf(out, "\\-%c*, *", option->letter));
        TRY(buf_text(out, "\\-\\-"));
        TRY(man_text(out, option->name));
        TRY(buf_text(out, "*"));
        if (value) {
            TRY(buf_text(out, " _"));
            TRY(man_text(out, value));
            TRY(buf_text(out, "_"));
        }
    }
    struct buf text = {0};
    enum trawl_status status = describe(&text, option);
    if (!status)
        status = buf_text(out, "\n\t");
    if (!status)
        status = man_text(out, text.data);
    buf_release(&text);
    TRY(status);
    return buf_text(out, "\n\n");
}

static enum trawl_status man_paragraphs(struct buf *out, const char *text)
{
    bool literal = false;
    while (*text) {
        size_t n = strcspn(text, "\n");
        bool wants = *text == ' ';
        if (wants != literal)
            TRY(buf_text(out, wants ? "\n```\n" : "```\n\n"));
        literal = wants;
        struct buf line = {0};
        enum trawl_status status = buf_append(&line, text, n);
        if (!status)
            status = literal ? buf_text(out, line.data) : man_text(out, line.data);
        buf_release(&line);
        TRY(status);
        TRY(buf_text(out, "\n"));
        text += n + (text[n] == '\n');
    }
    return literal ? buf_text(out, "```\n") : TRAWL_OK;
}

enum trawl_status opt_man(struct buf *out, const struct trawl_stage *stage, const struct trawl_stage *common)
{
    TRY(buf_printf(out, "trawl-%s(1) \"\" \"Trawl manual\"\n\n# NAME\n\ntrawl-%s - ", stage->name, stage->name));
    TRY(man_text(out, stage->summary));
    TRY(buf_printf(out, "\n\n# SYNOPSIS\n\n*trawl %s*", stage->name));
    struct buf usage = {0};
    enum trawl_status status = usage_line(&usage, stage);
    if (!status && usage.n)
        status = man_text(out, usage.data + strlen("usage: trawl ") + strlen(stage->name));
    buf_release(&usage);
    TRY(status);
    TRY(buf_text(out, "\n# DESCRIPTION\n\n"));
    TRY(man_paragraphs(out, stage->details ? stage->details : stage->summary));
    TRY(buf_text(out, "\n# OPTIONS\n\n"));
    for (size_t i = 0; i < stage->n_options; i++)
        TRY(man_option(out, &stage->options[i]));
    for (size_t i = 0; common && i < common->n_options; i++)
        TRY(man_option(out, &common->options[i]));
    if (stage->examples) {
        TRY(buf_text(out, "# EXAMPLES\n\n```\n"));
        TRY(buf_text(out, stage->examples));
        TRY(buf_text(out, stage->examples[strlen(stage->examples) - 1] == '\n' ? "```\n\n" : "\n```\n\n"));
    }
    return buf_text(out, "# EXIT STATUS\n\n0 done, 1 failed (the reason is on standard error), 2 wrong use\n\n"
                         "# SEE ALSO\n\n*trawl*(1)\n");
}

/* ---- bash ---- */

static enum trawl_status complete_stage(struct buf *out, const struct trawl_stage *stage,
                                        const struct trawl_stage *common)
{
    TRY(buf_printf(out, "    %s)\n        case \"$previous\" in\n", stage->name));
    for (size_t i = 0; i < stage->n_options; i++) {
        const struct trawl_option *option = &stage->options[i];
        if (!option->name || option->kind != TRAWL_OPTION_CHOICE)
            continue;
        TRY(buf_printf(out, "        --%s) words=\"", option->name));
        for (const char *c = option->choices; *c; c++)
            TRY(buf_append(out, *c == '|' ? " " : c, 1));
        TRY(buf_text(out, "\" ;;\n"));
    }
    TRY(buf_text(out, "        *) words=\"--help"));
    for (size_t i = 0; common && i < common->n_options; i++)
        TRY(buf_printf(out, " --%s", common->options[i].name));
    for (size_t i = 0; i < stage->n_options; i++)
        if (stage->options[i].name)
            TRY(buf_printf(out, " --%s", stage->options[i].name));
    return buf_text(out, "\" ;;\n        esac ;;\n");
}

enum trawl_status opt_complete_bash(struct buf *out, const struct trawl_stage *const *stages, size_t n,
                                    const struct trawl_stage *common)
{
    TRY(buf_text(out, "# Completion of trawl for bash, made from the option tables.\n_trawl()\n{\n"
                      "    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} words=\n"
                      "    if [ \"$COMP_CWORD\" = 1 ]; then\n        COMPREPLY=($(compgen -W \"--help --version help"));
    for (size_t i = 0; i < n; i++)
        TRY(buf_printf(out, " %s", stages[i]->name));
    TRY(buf_text(out, "\" -- \"$word\"))\n        return\n    fi\n    case \"${COMP_WORDS[1]}\" in\n"));
    for (size_t i = 0; i < n; i++)
        TRY(complete_stage(out, stages[i], common));
    return buf_text(out,
                    "    esac\n    case \"$word,$words\" in\n    -*|*,[!-]*) COMPREPLY=($(compgen -W \"$words\" -- "
                    "\"$word\")) ;;\n    *) COMPREPLY=($(compgen -f -- \"$word\")) ;;\n    esac\n}\n"
                    "complete -o filenames -F _trawl trawl\n");
}
