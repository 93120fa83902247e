/* The part of a libc that would ask a system: clocks go to the host, standard output is nowhere, failures trap. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

#include "engine.h"

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    uint64_t us = engine_now_us();
    now->tv_sec = (time_t)(us / 1000000);
    now->tv_usec = (suseconds_t)(us % 1000000);
    return 0;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    uint64_t ns = engine_monotonic_ns();
    now->tv_sec = (time_t)(ns / 1000000000);
    now->tv_nsec = (long)(ns % 1000000000);
    return 0;
}

/* Devices run in UTC. */
struct tm *localtime_r(const time_t *restrict time, struct tm *restrict tm)
{
    memset(tm, 0, sizeof *tm);
    return tm;
}

_Noreturn void abort(void)
{
    __builtin_trap();
}

_Noreturn void __assert_fail(const char *text, const char *file, int line, const char *function)
{
    __builtin_trap();
}

int printf(const char *restrict format, ...)
{
    return 0;
}

int fprintf(FILE *restrict file, const char *restrict format, ...)
{
    return 0;
}

int putchar(int byte)
{
    return byte;
}

int fputc(int byte, FILE *file)
{
    return byte;
}

int fputs(const char *restrict text, FILE *restrict file)
{
    return 0;
}

int fflush(FILE *file)
{
    return 0;
}

/* What snprintf drags in. `__towrite` and `fwrite` stay those of the libc, or numbers have no digits. */
size_t __stdio_write(FILE *file, const unsigned char *bytes, size_t length)
{
    return length;
}

size_t __stdout_write(FILE *file, const unsigned char *bytes, size_t length)
{
    return length;
}

off_t __stdio_seek(FILE *file, off_t offset, int whence)
{
    return -1;
}

int __stdio_close(FILE *file)
{
    return 0;
}

int __isatty(int file)
{
    return 0;
}
