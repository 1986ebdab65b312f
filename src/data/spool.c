#include "spool.h"
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum trawl_status spool_begin(struct spool *s)
{
    const char *folder = getenv("TMPDIR");
    struct buf path = {0};
    *s = (struct spool){0};
    TRY(buf_printf(&path, "%s/trawl-spool-XXXXXX", folder && *folder ? folder : "/tmp"));
    int fd = mkostemp(path.data, O_CLOEXEC);
    if (fd >= 0)
        unlink(path.data);
    s->file = fd >= 0 ? fdopen(fd, "w+b") : NULL;
    enum trawl_status status = s->file ? TRAWL_OK : fail_errno("cannot make a scratch file '%s'", path.data);
    if (!s->file && fd >= 0)
        close(fd);
    buf_release(&path);
    return status;
}

enum trawl_status spool_write(struct spool *s, const void *data, size_t n)
{
    if (n && fwrite(data, 1, n, s->file) != n)
        return fail_errno("cannot write a scratch file (is $TMPDIR full?)");
    s->bytes += n;
    return TRAWL_OK;
}

enum trawl_status spool_end(struct spool *s)
{
    char path[64];
    if (fflush(s->file))
        return fail_errno("cannot write a scratch file (is $TMPDIR full?)");
    snprintf(path, sizeof path, "/proc/self/fd/%d", fileno(s->file));
    return file_map_open(&s->map, path);
}

void spool_close(struct spool *s)
{
    file_map_close(&s->map);
    if (s->file)
        fclose(s->file);
    *s = (struct spool){0};
}
