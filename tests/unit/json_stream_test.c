#include "common/json_stream.h"

#include "common/scoped.h"
#include "common/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { ELEMENT_MAX = 64 };

/* What came of a text, in one line: every element as "list=bytes", then "other …", the lists, and the fault. */
struct outcome {
    struct text told;
    size_t stop_at; /* the use of this element fails; 0: of none */
    size_t elements;
};

static struct fault tell(void *of, const char *list, json_object *value, const char *bytes, size_t len)
{
    struct outcome *o = of;

    if (++o->elements == o->stop_at)
        return FAULT(RETRY, "no more");
    text_printf(&o->told, "%s=%.*s ", list, (int)len, bytes);
    /* the value is that of the bytes */
    SCOPED(free) char *copy = strndup(bytes, len);
    SCOPED(json_object_put) json_object *again = json_tokener_parse(copy);
    assert_true(json_object_equal(value, again));
    return FAULT_OK;
}

static void end(struct json_stream *s, struct outcome *o)
{
    static const char *const lists[] = {"", "added", "removed"};
    struct fault f = json_stream_end(s);

    if (json_stream_other(s))
        text_printf(&o->told, "other %s ", json_object_to_json_string_ext(json_stream_other(s), JSON_C_TO_STRING_PLAIN));
    for (size_t i = 0; i < COUNT(lists); i++)
        if (json_stream_has(s, lists[i]))
            text_printf(&o->told, "<%s> ", lists[i]);
    if (f.kind)
        text_printf(&o->told, "! %s", f.what);
    while (o->told.len && o->told.at[o->told.len - 1] == ' ')
        o->told.at[--o->told.len] = '\0';
}

/* Fed in three parts, each in memory of its own length: what is read beyond a part is found by ASan. */
static void run(const char *shape, const char *text, size_t len, size_t cut, size_t cut_again, struct outcome *o)
{
    const size_t cuts[] = {0, cut, cut_again, len};
    struct json_stream *s = json_stream_open(shape, ELEMENT_MAX, tell, o);

    text_clear(&o->told);
    o->elements = 0;
    assert_non_null(s);
    for (size_t i = 0; i + 1 < COUNT(cuts); i++) {
        SCOPED(free) char *part = malloc(cuts[i + 1] - cuts[i] + !(cuts[i + 1] - cuts[i]));
        memcpy(part, text + cuts[i], cuts[i + 1] - cuts[i]);
        json_stream_feed(s, part, cuts[i + 1] - cuts[i]);
    }
    end(s, o);
    json_stream_close(s);
}

static const struct {
    const char *when, *shape, *text, *want;
} texts[] = {
    /* the list itself */
    {"a list", "[", "[1,\"b\",{\"c\":[2]},[3],null,true]", "=1 =\"b\" ={\"c\":[2]} =[3] =null =true <>"},
    {"blanks everywhere", "[", " \t\r\n[ 1 ,\n{ \"a\" : 2 } \r]\t ", "=1 ={ \"a\" : 2 } <>"},
    {"an empty list", "[", "[]", "<>"},
    {"an empty list with a blank", "[", "[ ]", "<>"},
    {"brackets and quotes in strings", "[", "[{\"a]\\\"}\":\"[{\\\\\"},\"]\",\"\\\\\\\"\"]",
     "={\"a]\\\"}\":\"[{\\\\\"} =\"]\" =\"\\\\\\\"\" <>"},
    {"UTF-8", "[", "[\"\xc3\xa9t\xc3\xa9\",\"\xf0\x9f\x9a\xaa\"]", "=\"\xc3\xa9t\xc3\xa9\" =\"\xf0\x9f\x9a\xaa\" <>"},
    {"numbers of every kind", "[", "[0,-1.5e+7,123456789012345678901234567890]",
     "=0 =-1.5e+7 =123456789012345678901234567890 <>"},
    {"a byte order mark", "[", "\xef\xbb\xbf[1]", "=1 <>"},
    {"a byte order mark and a blank", "[", "\xef\xbb\xbf [1]", "=1 <>"},
    {"half a byte order mark", "[", "\xef\xbb[1]", "! byte 2: want a value"},
    {"only half a byte order mark", "[", "\xef\xbb", "! byte 2: it ends, want a value"},
    {"two byte order marks", "[", "\xef\xbb\xbf\xef\xbb\xbf[1]", "! byte 3: not JSON"},
    {"the longest element", "[", "[\"" "12345678901234567890123456789012345678901234567890123456789012" "\"]",
     "=\"" "12345678901234567890123456789012345678901234567890123456789012" "\" <>"},
    {"one longer", "[", "[1,\"" "123456789012345678901234567890123456789012345678901234567890123" "\"]",
     "=1 <> ! byte 3: element 2 is longer than 64 bytes"},
    {"one that does not end", "[", "[[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29",
     "<> ! byte 1: element 1 is longer than 64 bytes"},
    {"a number too long", "[", "[12345678901234567890123456789012345678901234567890123456789012345]",
     "<> ! byte 1: element 1 is longer than 64 bytes"},

    /* not a list, but what a vendor says instead */
    {"an object instead", "[", "{\"message\":\"no\"}", "other {\"message\":\"no\"}"},
    {"a string instead", "[", " \"no\" ", "other \"no\""},
    {"a number instead", "[", "12", "other 12"},
    {"a number and a blank", "[", "12 ", "other 12"},
    {"null instead", "[", "null", ""},
    {"half a word", "[", "tru", "! byte 0: not JSON"},
    {"HTML", "[", "<html>", "! byte 0: not JSON"},
    {"nothing", "[", "", "! byte 0: it ends, want a value"},
    {"blanks", "[", " \n", "! byte 2: it ends, want a value"},

    /* what is wrong between and within elements */
    {"no comma", "[", "[1 2]", "=1 <> ! byte 3: want , or ]"},
    {"a comma too many", "[", "[1,]", "=1 <> ! byte 3: want a value"},
    {"a comma alone", "[", "[,1]", "<> ! byte 1: want a value or ]"},
    {"closed otherwise", "[", "[1}", "=1 <> ! byte 2: want , or ]"},
    {"closed otherwise, empty", "[", "[}", "<> ! byte 1: want a value or ]"},
    {"a colon", "[", "[1:2]", "<> ! byte 1: element 1: not JSON"},
    {"something after it", "[", "[1] [2]", "=1 <> ! byte 4: want nothing more"},
    {"a zero byte after it is tested elsewhere; a letter", "[", "[]x", "<> ! byte 2: want nothing more"},
    {"brackets that do not match", "[", "[1,[2},3]", "=1 <> ! byte 3: element 2: not JSON"},
    {"no number", "[", "[1,{\"a\":01},3]", "=1 <> ! byte 3: element 2: not JSON: no number at byte 5"},
    {"invalid UTF-8", "[", "[1,\"\xc3(\"]", "=1 <> ! byte 3: element 2: not JSON: invalid UTF-8 at byte 1"},
    {"a tab in a string", "[", "[\"a\tb\"]", "<> ! byte 1: element 1: not JSON: a control character in a string at byte 2"},
    {"a form feed between", "[", "[1,\f2]", "=1 <> ! byte 3: element 2: not JSON"},
    {"a word nobody knows", "[", "[nil]", "<> ! byte 1: element 1: not JSON"},
    {"it ends within a list", "[", "[1,2 ", "=1 =2 <> ! byte 5: it ends, want , or ]"},
    {"it ends after a comma", "[", "[1,", "=1 <> ! byte 3: it ends, want a value"},
    {"it ends within a string", "[", "[1,\"abc", "=1 <> ! byte 7: it ends within element 2"},
    {"it ends within an escape", "[", "[1,\"abc\\", "=1 <> ! byte 8: it ends within element 2"},
    {"it ends within an object", "[", "[1,{\"a\":[]", "=1 <> ! byte 10: it ends within element 2"},
    {"it ends within a number", "[", "[1,2", "=1 <> ! byte 4: it ends within element 2"},

    /* lists that are members */
    {"two lists", "{[", "{\"added\":[1,{\"a\":2}],\"removed\":[\"x\"]}",
     "added=1 added={\"a\":2} removed=\"x\" <added> <removed>"},
    {"two lists and more", "{[", "{ \"id\" : 7 , \"added\" : [ 1 ] , \"n\" : { \"m\" : [2] } , \"removed\":[]}",
     "added=1 other {\"id\":7,\"n\":{\"m\":[2]}} <added> <removed>"},
    {"an empty object", "{[", "{}", ""},
    {"an empty object with a blank", "{[", "{ }", ""},
    {"a message", "{[", "{\"message\":\"no\"}", "other {\"message\":\"no\"}"},
    {"the last of one name counts", "{[", "{\"a\":1,\"b\":2,\"a\":3}", "other {\"a\":3,\"b\":2}"},
    {"one list twice", "{[", "{\"added\":[1],\"added\":[2]}", "added=1 added=2 <added>"},
    {"a list and no list of one name", "{[", "{\"added\":[1],\"added\":null}", "added=1 other {\"added\":null} <added>"},
    {"a name with an escape", "{[", "{\"\\u0061dded\":[1]}", "added=1 <added>"},
    {"an empty name", "{[", "{\"\":[1]}", "=1 <>"},
    {"a list instead", "{[", "[{\"added\":[1]}]", "other [{\"added\":[1]}]"},
    {"a string instead of an object", "{[", "\"no\"", "other \"no\""},
    {"no colon", "{[", "{\"a\" 1}", "! byte 5: want :"},
    {"no value", "{[", "{\"a\":}", "! byte 5: want a value"},
    {"no name", "{[", "{a:1}", "! byte 1: want a name or }"},
    {"no name after a comma", "{[", "{\"a\":1,}", "other {\"a\":1} ! byte 7: want a name"},
    {"an object closed otherwise", "{[", "{\"a\":1]", "other {\"a\":1} ! byte 6: want , or }"},
    {"a bad name", "{[", "{\"a\\x\":1}", "! byte 1: not JSON"},
    {"a bad value", "{[", "{\"a\":.5}", "! byte 5: not JSON"},
    {"it ends within a name", "{[", "{\"a", "! byte 3: it ends within a value"},
    {"it ends after a name", "{[", "{\"a\"", "! byte 4: it ends, want :"},
    {"it ends after a list", "{[", "{\"added\":[]", "<added> ! byte 11: it ends, want , or }"},
    {"it ends within a word", "{[", "{\"a\":tru", "! byte 8: it ends within a value"},

    /* the same, within a list */
    {"an object of lists in a list", "[{[", "[{\"id\":1,\"added\":[1],\"removed\":[2]}]",
     "added=1 removed=2 other {\"id\":1} <> <added> <removed>"},
    {"two of them", "[{[", "[{\"id\":1,\"added\":[1]},{\"id\":2,\"added\":[2]}]",
     "added=1 added=2 other {\"id\":2} <> <added>"},
    {"none", "[{[", "[]", "<>"},
    {"an object instead of a list", "[{[", "{\"message\":\"no\"}", "other {\"message\":\"no\"}"},
    {"a string among them", "[{[", "[{\"id\":1},\"no\",{\"id\":2}]", "other \"no\" <>"},
    {"null among them", "[{[", "[null]", "<>"},
    {"lists among them", "[{[", "[[1]]", "other [1] <>"},
    {"a comma too many within", "[{[", "[{\"a\":1},]", "other {\"a\":1} <> ! byte 9: want a value"},
};

/* How json-c words a fault is its own. */
static bool is_as_wanted(const char *told, const char *want)
{
    return strstr(want, "not JSON") ? !strncmp(told, want, strlen(want)) : !strcmp(told, want);
}

/* Whole, in two parts cut anywhere, and in three. */
static void test_texts(void **state)
{
    struct outcome o = {0}, whole = {0};
    (void)state;

    for (size_t i = 0; i < COUNT(texts); i++) {
        size_t len = strlen(texts[i].text);
        run(texts[i].shape, texts[i].text, len, 0, 0, &whole);
        if (!is_as_wanted(text_str(&whole.told), texts[i].want))
            fail_msg("%s:\n%s\nwant\n%s", texts[i].when, text_str(&whole.told), texts[i].want);
        for (size_t cut = 0; cut <= len; cut++)
            for (size_t again = cut; again <= len; again++) {
                run(texts[i].shape, texts[i].text, len, cut, again, &o);
                if (strcmp(text_str(&o.told), text_str(&whole.told)))
                    fail_msg("%s, cut at %zu and %zu:\n%s\nwhole\n%s", texts[i].when, cut, again, text_str(&o.told),
                             text_str(&whole.told));
            }
    }
    text_free(&o.told);
    text_free(&whole.told);
}

static void test_zero_bytes(void **state)
{
    static const struct {
        const char *text;
        size_t len;
        const char *want;
    } rows[] = {
        {"[1,\0]", 5, "=1 <> ! byte 3: element 2: not JSON: it holds a zero byte"},
        {"[\"\0\"]", 5, "<> ! byte 1: element 1: not JSON: it holds a zero byte"},
        {"[1\0]", 4, "<> ! byte 1: element 1: not JSON: it holds a zero byte"},
        {"[1]\0", 4, "=1 <> ! byte 3: want nothing more"},
        {"\0", 1, "! byte 0: not JSON: it holds a zero byte"},
    };
    struct outcome o = {0};
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++)
        for (size_t cut = 0; cut <= rows[i].len; cut++) {
            run("[", rows[i].text, rows[i].len, 0, cut, &o);
            assert_string_equal(text_str(&o.told), rows[i].want);
        }
    text_free(&o.told);
}

static void test_a_fault_ends_it(void **state)
{
    struct outcome o = {.stop_at = 2};
    struct json_stream *s = json_stream_open("[", ELEMENT_MAX, tell, &o);
    (void)state;

    assert_int_equal(json_stream_feed(s, "[1,2,3", 6).kind, FAULT_RETRY);
    assert_int_equal(json_stream_feed(s, "]", 1).kind, FAULT_RETRY);
    assert_string_equal(json_stream_end(s).what, "no more");
    assert_string_equal(text_str(&o.told), "=1 ");
    json_stream_close(s);
    json_stream_close(NULL);
    text_free(&o.told);
}

/* Members beside the lists are bounded in sum, by what is kept of them. */
static void test_other_is_bounded(void **state)
{
    struct outcome o = {0};
    struct text t = {0};
    struct fault f = FAULT_OK;
    (void)state;

    struct json_stream *s = json_stream_open("[{[", ELEMENT_MAX, tell, &o);
    assert_false(json_stream_feed(s, "[{}", 3).kind);
    for (int i = 0; i < JSON_STREAM_OTHER_MAX; i++) /* the same over and over is kept once */
        assert_false(json_stream_feed(s, ",{\"id\":[],\"of\":1000}", 20).kind);
    assert_false(json_stream_feed(s, "]", 1).kind);
    assert_false(json_stream_end(s).kind);
    json_stream_close(s);

    s = json_stream_open("{[", ELEMENT_MAX, tell, &o);
    f = json_stream_feed(s, "{\"a\":0", 6);
    for (int i = 0; i < JSON_STREAM_OTHER_MAX / 9 && !f.kind; i++) {
        text_clear(&t);
        text_printf(&t, ",\"%06d\":%s", i, i % 2 ? "[]" : "null");
        f = json_stream_feed(s, t.at, t.len);
    }
    assert_int_equal(f.kind, FAULT_REJECT);
    assert_non_null(strstr(f.what, "more than 65536 bytes that are in no list"));
    json_stream_close(s);

    text_clear(&t);
    text_puts(&t, "{\"a\":\"");
    for (int i = 0; i < JSON_STREAM_OTHER_MAX; i++)
        text_putc(&t, 'x');
    s = json_stream_open("[", ELEMENT_MAX, tell, &o);
    assert_string_equal(json_stream_feed(s, t.at, t.len).what, "byte 0: more than 65536 bytes that are in no list");
    json_stream_close(s);
    text_free(&t);
    text_free(&o.told);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_zero_bytes),
        cmocka_unit_test(test_a_fault_ends_it),
        cmocka_unit_test(test_other_is_bounded),
    };

    return cmocka_run_group_tests_name("json_stream", tests, NULL, NULL);
}
