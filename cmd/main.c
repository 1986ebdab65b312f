/* trawl: the program. One subcommand per file; this one finds it. */
#include <stdio.h>
#include <trawl.h>

int main(void)
{
    printf("trawl %s\n", trawl_version());
    return 0;
}
