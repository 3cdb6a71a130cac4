/*
 * cxx_test.cpp - operator new and delete in all forms, and what C++ builds on them.
 *
 *     cxx_test $(BUILD)/libloam.so
 *
 * As [new.delete] has it: new never gives null, calls the new-handler until it helps or
 * gives up, and throws std::bad_alloc; the nothrow forms give null instead; every form
 * of delete that fits frees.
 */
#include "conformance.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

namespace
{

constexpr std::size_t too_much = ~std::size_t(0) / 2 + 1; /* no object can have this size */

void *hidden(void *block)
{
    return reinterpret_cast<void *>(opaque(reinterpret_cast<std::size_t>(block)));
}

std::align_val_t aligned_to(std::size_t alignment)
{
    return std::align_val_t(alignment);
}

/* ---- where the operators come from --------------------------------------- */

void the_operators_come_from_the_library()
{
    static const char *const names[] = {
        "_Znwm",
        "_Znam",
        "_ZnwmRKSt9nothrow_t",
        "_ZnamRKSt9nothrow_t",
        "_ZnwmSt11align_val_t",
        "_ZnamSt11align_val_t",
        "_ZnwmSt11align_val_tRKSt9nothrow_t",
        "_ZnamSt11align_val_tRKSt9nothrow_t",
        "_ZdlPv",
        "_ZdaPv",
        "_ZdlPvRKSt9nothrow_t",
        "_ZdaPvRKSt9nothrow_t",
        "_ZdlPvm",
        "_ZdaPvm",
        "_ZdlPvSt11align_val_t",
        "_ZdaPvSt11align_val_t",
        "_ZdlPvSt11align_val_tRKSt9nothrow_t",
        "_ZdaPvSt11align_val_tRKSt9nothrow_t",
        "_ZdlPvmSt11align_val_t",
        "_ZdaPvmSt11align_val_t",
    };

    for (const char *name : names) {
        if (!conformance_provides(name))
            std::fprintf(stderr, "%s does not\n", name);
        CHECK(conformance_provides(name));
    }
}

/* ---- all forms ----------------------------------------------------------- */

using give = std::function<void *(std::size_t)>;
using take = std::function<void(void *, std::size_t)>;

/* Each of these with each of those, for all sizes. */
void check_pairs(const std::vector<give> &news, const std::vector<take> &deletes,
                 std::size_t alignment)
{
    for (std::size_t size = 0; size < 3000000; size = size * 3 / 2 + 1) {
        for (const give &give_one : news) {
            for (const take &take_one : deletes) {
                void *block = give_one(size);
                CHECK(block != nullptr && is_aligned(block, alignment));
                fill(block, size, size);
                CHECK(is_filled(block, size, size));
                take_one(block, size);
            }
        }
    }
}

void plain_forms_fit_together()
{
    check_pairs({ [](std::size_t size) { return ::operator new(size); },
                  [](std::size_t size) { return ::operator new(size, std::nothrow); } },
                { [](void *block, std::size_t) { ::operator delete(block); },
                  [](void *block, std::size_t size) { ::operator delete(block, size); },
                  [](void *block, std::size_t) { ::operator delete(block, std::nothrow); } },
                8);
}

void array_forms_fit_together()
{
    check_pairs({ [](std::size_t size) { return ::operator new[](size); },
                  [](std::size_t size) { return ::operator new[](size, std::nothrow); } },
                { [](void *block, std::size_t) { ::operator delete[](block); },
                  [](void *block, std::size_t size) { ::operator delete[](block, size); },
                  [](void *block, std::size_t) { ::operator delete[](block, std::nothrow); } },
                8);
}

void aligned_forms_fit_together()
{
    for (std::size_t alignment = 1; alignment <= 1 << 16; alignment *= 4) {
        const std::align_val_t value = aligned_to(alignment);
        check_pairs(
            { [=](std::size_t size) { return ::operator new(size, value); },
              [=](std::size_t size) { return ::operator new(size, value, std::nothrow); } },
            { [=](void *block, std::size_t) { ::operator delete(block, value); },
              [=](void *block, std::size_t size) { ::operator delete(block, size, value); },
              [=](void *block, std::size_t) { ::operator delete(block, value, std::nothrow); } },
            alignment);
    }
}

void aligned_array_forms_fit_together()
{
    for (std::size_t alignment = 1; alignment <= 1 << 16; alignment *= 4) {
        const std::align_val_t value = aligned_to(alignment);
        check_pairs(
            { [=](std::size_t size) { return ::operator new[](size, value); },
              [=](std::size_t size) { return ::operator new[](size, value, std::nothrow); } },
            { [=](void *block, std::size_t) { ::operator delete[](block, value); },
              [=](void *block, std::size_t size) { ::operator delete[](block, size, value); },
              [=](void *block, std::size_t) { ::operator delete[](block, value, std::nothrow); } },
            alignment);
    }
}

void new_of_nothing_gives_distinct_objects()
{
    std::vector<void *> blocks;

    for (int i = 0; i < 50; i++) {
        blocks.push_back(::operator new(opaque(0)));
        blocks.push_back(::operator new[](opaque(0)));
        blocks.push_back(::operator new(opaque(0), aligned_to(64)));
        blocks.push_back(::operator new(opaque(0), std::nothrow));
    }
    std::vector<void *> sorted = blocks;
    std::sort(sorted.begin(), sorted.end());
    CHECK(sorted.front() != nullptr);
    CHECK(std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end());
    for (std::size_t i = 0; i < blocks.size(); i++) {
        if (i % 4 == 1)
            ::operator delete[](blocks[i]);
        else if (i % 4 == 2)
            ::operator delete(blocks[i], aligned_to(64));
        else
            ::operator delete(blocks[i]);
    }
}

void delete_of_null_does_nothing()
{
    errno = 12345;
    ::operator delete(hidden(nullptr));
    ::operator delete[](hidden(nullptr));
    ::operator delete(hidden(nullptr), 100);
    ::operator delete[](hidden(nullptr), 100);
    ::operator delete(hidden(nullptr), aligned_to(64));
    ::operator delete(hidden(nullptr), 100, aligned_to(64));
    ::operator delete(hidden(nullptr), std::nothrow);
    CHECK_EQUAL(errno, 12345);
}

/* ---- too much ------------------------------------------------------------ */

template <typename Call> bool throws_bad_alloc(Call call)
{
    try {
        call();
    } catch (const std::bad_alloc &) {
        return true;
    }
    return false;
}

void new_of_too_much_throws()
{
    for (std::size_t size : { too_much, ~std::size_t(0), ~std::size_t(0) - 4096 }) {
        CHECK(throws_bad_alloc([=] { hidden(::operator new(opaque(size))); }));
        CHECK(throws_bad_alloc([=] { hidden(::operator new[](opaque(size))); }));
        CHECK(throws_bad_alloc([=] { hidden(::operator new(opaque(size), aligned_to(64))); }));
        CHECK(throws_bad_alloc([=] { hidden(::operator new[](opaque(size), aligned_to(4096))); }));
    }
}

void nothrow_new_of_too_much_gives_null()
{
    for (std::size_t size : { too_much, ~std::size_t(0), ~std::size_t(0) - 4096 }) {
        CHECK(::operator new(opaque(size), std::nothrow) == nullptr);
        CHECK(::operator new[](opaque(size), std::nothrow) == nullptr);
        CHECK(::operator new(opaque(size), aligned_to(64), std::nothrow) == nullptr);
        CHECK(::operator new[](opaque(size), aligned_to(64), std::nothrow) == nullptr);
    }
}

/* count * sizeof() wraps: the compiler's own check, then the library's. */
void new_of_arrays_beyond_any_object_throws()
{
    CHECK(throws_bad_alloc([] { hidden(new double[opaque(~std::size_t(0) / 4)]); }));
    CHECK(throws_bad_alloc([] { hidden(new double[opaque(std::size_t(1) << 61)]); }));
    CHECK(throws_bad_alloc([] { hidden(new char[opaque(too_much)]); }));
}

void new_survives_the_end_of_address_space()
{
    std::vector<void *> blocks;
    const rlimit limit = { mapped_bytes() + (64 << 20), mapped_bytes() + (64 << 20) };

    blocks.reserve(100000);
    CHECK_EQUAL(setrlimit(RLIMIT_AS, &limit), 0);
    bool refused = false;
    while (!refused && blocks.size() < 100000) {
        refused = throws_bad_alloc([&] { blocks.push_back(::operator new(opaque(10000))); });
    }
    CHECK(refused && blocks.size() > 1000);
    CHECK(::operator new(opaque(1 << 20), std::nothrow) == nullptr);
    for (void *block : blocks)
        ::operator delete(block, 10000);
    void *again = ::operator new(opaque(1 << 20));
    CHECK(hidden(again) != nullptr);
    ::operator delete(again);
}

/* ---- the new-handler ----------------------------------------------------- */

unsigned handler_calls;

void give_up_at_the_third_call()
{
    if (++handler_calls == 3)
        std::set_new_handler(nullptr);
}

void the_new_handler_is_called_until_it_is_taken_away()
{
    for (int form = 0; form < 4; form++) {
        handler_calls = 0;
        std::set_new_handler(give_up_at_the_third_call);
        CHECK(throws_bad_alloc([=] {
            if (form == 0)
                hidden(::operator new(opaque(too_much)));
            else if (form == 1)
                hidden(::operator new[](opaque(too_much)));
            else if (form == 2)
                hidden(::operator new(opaque(too_much), aligned_to(64)));
            else
                hidden(::operator new[](opaque(too_much), aligned_to(64)));
        }));
        CHECK_EQUAL(handler_calls, 3);
    }
}

void nothrow_forms_call_the_new_handler()
{
    handler_calls = 0;
    std::set_new_handler(give_up_at_the_third_call);
    CHECK(::operator new(opaque(too_much), std::nothrow) == nullptr);
    CHECK_EQUAL(handler_calls, 3);
    handler_calls = 0;
    std::set_new_handler(give_up_at_the_third_call);
    CHECK(::operator new(opaque(too_much), aligned_to(64), std::nothrow) == nullptr);
    CHECK_EQUAL(handler_calls, 3);
}

struct special_bad_alloc : std::bad_alloc {
};

void throw_special()
{
    throw special_bad_alloc();
}

void what_the_new_handler_throws_comes_through()
{
    bool seen = false;

    std::set_new_handler(throw_special);
    try {
        hidden(::operator new(opaque(too_much)));
    } catch (const special_bad_alloc &) {
        seen = true;
    }
    CHECK(seen);
    CHECK(::operator new(opaque(too_much), std::nothrow) == nullptr);
    CHECK(::operator new[](opaque(too_much), aligned_to(128), std::nothrow) == nullptr);
    std::set_new_handler(nullptr);
}

void *reserve;

void free_the_reserve()
{
    handler_calls++;
    std::free(reserve);
    reserve = nullptr;
    std::set_new_handler(nullptr);
}

/* The handler frees what the program can do without, and new succeeds. */
void new_succeeds_when_the_new_handler_has_made_room()
{
    reserve = std::malloc(100 << 20);
    CHECK(reserve != nullptr);
    const rlimit limit = { mapped_bytes() + (16 << 20), mapped_bytes() + (16 << 20) };
    CHECK_EQUAL(setrlimit(RLIMIT_AS, &limit), 0);
    handler_calls = 0;
    std::set_new_handler(free_the_reserve);
    char *block = static_cast<char *>(::operator new(opaque(60 << 20)));
    CHECK_EQUAL(handler_calls, 1);
    std::memset(block, 1, 60 << 20);
    ::operator delete(block);
}

/* ---- what programs do ---------------------------------------------------- */

struct alignas(256) wide {
    char bytes[700];
};

struct base {
    virtual ~base() = default;
    int first = 1;
};

struct derived : base {
    wide more[3];
    std::string text = std::string(1000, 'x');
};

void objects_of_every_alignment_are_placed_right()
{
    for (int i = 0; i < 200; i++) {
        const std::unique_ptr<wide> one(new wide);
        const std::unique_ptr<wide[]> several(new wide[7]);
        const std::unique_ptr<base> object(new derived);
        CHECK(is_aligned(one.get(), 256) && is_aligned(several.get(), 256));
        CHECK(is_aligned(object.get(), 256));
        CHECK_EQUAL(static_cast<derived *>(object.get())->text.size(), 1000);
        const auto shared = std::make_shared<wide>();
        CHECK(is_aligned(shared.get(), 256));
    }
}

struct throws_when_made {
    char bytes[300];
    explicit throws_when_made(int number)
    {
        if (number % 2 == 0)
            throw number;
    }
};

/* The block of an object that could not be made is freed. */
void constructors_that_throw_lose_no_memory()
{
    std::size_t caught = 0;
    const std::uint64_t before = resident_bytes();

    for (int i = 0; i < 200000; i++) {
        try {
            delete new throws_when_made(i);
        } catch (int) {
            caught++;
        }
    }
    CHECK_EQUAL(caught, 100000);
    CHECK_AT_MOST(resident_bytes(), before + (16 << 20));
}

void fill_containers(unsigned number)
{
    std::map<std::string, std::vector<unsigned>> map;

    for (unsigned i = 0; i < 20000; i++)
        map["key " + std::to_string(i * 7919 % 1000 + number)].push_back(i);
    CHECK_EQUAL(map.size(), 1000);
    std::size_t total = 0;
    for (const auto &[key, values] : map)
        total += values.size();
    CHECK_EQUAL(total, 20000);
}

void containers_work_in_threads()
{
    std::vector<std::thread> threads;

    for (unsigned i = 0; i < 8; i++)
        threads.emplace_back(fill_containers, i);
    for (std::thread &thread : threads)
        thread.join();
}

thread_local std::vector<std::string> of_thread;
thread_local std::unique_ptr<std::map<int, std::string>> map_of_thread;

/* Their destructors run when the thread has ended, in the C library's own time. */
void objects_of_threads_are_destroyed()
{
    std::uint64_t before = 0;

    for (unsigned round = 0; round < 60; round++) {
        std::vector<std::thread> threads;
        for (unsigned i = 0; i < 8; i++) {
            threads.emplace_back([] {
                for (int j = 0; j < 300; j++)
                    of_thread.push_back(std::string(static_cast<std::size_t>(j), 'y'));
                map_of_thread = std::make_unique<std::map<int, std::string>>();
                for (int j = 0; j < 100; j++)
                    (*map_of_thread)[j] = std::string(100, 'z');
                CHECK_EQUAL(of_thread.size(), 300);
            });
        }
        for (std::thread &thread : threads)
            thread.join();
        if (round == 10)
            before = resident_bytes();
    }
    CHECK_PROMISED(resident_bytes() <= before + (32 << 20));
}

/* Before main and after it. */
struct lives_long {
    std::vector<std::string> texts = std::vector<std::string>(1000, std::string(100, 'a'));
    bool tells = false;
    ~lives_long()
    {
        texts.push_back(std::string(5000, 'b'));
        texts.clear();
        texts.shrink_to_fit();
        if (tells && write(STDOUT_FILENO, "destroyed", 9) != 9)
            std::abort();
    }
};

lives_long global;

void end_with_a_global_object()
{
    global.tells = true;
    std::exit(0);
}

void global_objects_are_destroyed()
{
    char output[100];

    CHECK_EQUAL(global.texts.size(), 1000);
    CHECK_EQUAL(conformance_watch(end_with_a_global_object, output, sizeof(output)), 0);
    CHECK(std::strcmp(output, "destroyed") == 0);
}

const conformance_case cxx_cases[] = {
    LOAM_CASE(the_operators_come_from_the_library),
    CASE(plain_forms_fit_together),
    CASE(array_forms_fit_together),
    CASE(aligned_forms_fit_together),
    CASE(aligned_array_forms_fit_together),
    CASE(new_of_nothing_gives_distinct_objects),
    CASE(delete_of_null_does_nothing),
    CASE(new_of_too_much_throws),
    CASE(nothrow_new_of_too_much_gives_null),
    CASE(new_of_arrays_beyond_any_object_throws),
    CASE(new_survives_the_end_of_address_space),
    CASE(the_new_handler_is_called_until_it_is_taken_away),
    CASE(nothrow_forms_call_the_new_handler),
    CASE(what_the_new_handler_throws_comes_through),
    CASE(new_succeeds_when_the_new_handler_has_made_room),
    CASE(objects_of_every_alignment_are_placed_right),
    CASE(constructors_that_throw_lose_no_memory),
    CASE(containers_work_in_threads),
    CASE(objects_of_threads_are_destroyed),
    CASE(global_objects_are_destroyed),
    CASES_END,
};

} // namespace

int main(int argc, char **argv)
{
    static const conformance_case *const groups[] = { cxx_cases, nullptr };

    return conformance_main(argc, argv, groups);
}
