#include "common/memory.h"

#include "common/log.h"

#include <dlfcn.h>
#include <stddef.h>
#include <unistd.h>

/* The caller may hold any lock of any library, and there is no memory. */
_Noreturn void out_of_memory(void)
{
    log_last_words("out of memory");
    _exit(111);
}

#if defined(__has_feature)
#define CLANG_HAS(feature) __has_feature(feature)
#else
#define CLANG_HAS(feature) 0
#endif
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !CLANG_HAS(address_sanitizer) && \
    !CLANG_HAS(thread_sanitizer) && !CLANG_HAS(memory_sanitizer)

void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *of, size_t size);

/* The next one of that name, be it the C library's or one that was preloaded. A function's address as C has it. */
#define NEXT(call)                                 \
    do {                                           \
        if (!next)                                 \
            *(void **)&next = dlsym(RTLD_NEXT, call); \
    } while (0)

static void *there(void *memory)
{
    if (!memory)
        out_of_memory();
    return memory;
}

void *malloc(size_t size)
{
    static void *(*next)(size_t);

    NEXT("malloc");
    return there(next(size));
}

void *calloc(size_t count, size_t size)
{
    static void *(*next)(size_t, size_t);

    NEXT("calloc");
    return there(next(count, size));
}

/* To no bytes is to free, which leaves nothing. */
void *realloc(void *of, size_t size)
{
    static void *(*next)(void *, size_t);

    NEXT("realloc");
    void *memory = next(of, size);
    return size || !of ? there(memory) : memory;
}

#endif
