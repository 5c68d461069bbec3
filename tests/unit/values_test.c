#include "common/values.h"

#include "common/scoped.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_isbn(void **state)
{
    static const struct {
        const char *when, *written, *want; /* the 13 digits, or the fault */
    } rows[] = {
        {"as OneClick writes it", "9781615730186", "9781615730186"},
        {"with hyphens", "978-1-61573-018-6", "9781615730186"},
        {"with blanks", "978 1 61573 018 6", "9781615730186"},
        {"with both", "978-1 61573-018 6", "9781615730186"},
        {"979", "979-10-90636-07-1", "9791090636071"},
        {"a check digit of 0", "9780306406010", "9780306406010"},
        {"ten digits", "0306406152", "9780306406157"},
        {"ten digits with hyphens", "0-306-40615-2", "9780306406157"},
        {"ten, the last X", "080442957X", "9780804429573"},
        {"ten, the last x", "0-8044-2957-x", "9780804429573"},
        {"ten, the last 0", "0000000000", "9780000000002"},
        {"the one nobody has", "9780307378102", "check digit 2, want 1"},
        {"two digits changed about", "9781615730168", "check digit 8, want 2"},
        {"ten with another check digit", "0306406153", "check digit 3, want 2"},
        {"ten that should end in X", "0804429571", "check digit 1, want X"},
        {"ten that should not end in X", "030640615X", "check digit X, want 2"},
        {"no book's", "9771615730186", "want 978 or 979 in front, found 977"},
        {"thirteen zeros", "0000000000000", "want 978 or 979 in front, found 000"},
        {"nothing", "", "want 13 digits, found 0"},
        {"one digit", "9", "want 13 digits, found 1"},
        {"twelve", "978161573018", "want 13 digits, found 12"},
        {"fourteen", "97816157301860", "want 13 digits, found 14"},
        {"a hundred", "1234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890",
         "want 13 digits, found 100"},
        {"an X at the end of thirteen", "978161573018X", "want digits, found something else at byte 12"},
        {"an X in the middle", "08044X957X", "want digits, found something else at byte 5"},
        {"something after the X", "080442957X1", "want digits, found something else at byte 9"},
        {"a hyphen after the X", "080442957X-", "want digits, found something else at byte 9"},
        {"a hyphen in front", "-9781615730186", "want digits, found something else at byte 0"},
        {"a hyphen at the end", "9781615730186-", "want digits, found something else at byte 13"},
        {"two hyphens", "978--1615730186", "want digits, found something else at byte 4"},
        {"a blank in front", " 9781615730186", "want digits, found something else at byte 0"},
        {"a tab between", "978\t1615730186", "want digits, found something else at byte 3"},
        {"a word in front", "ISBN 9781615730186", "want digits, found something else at byte 0"},
        {"digits that are not ASCII", "\xd9\xa9\xd9\xa7\xd9\xa8", "want digits, found something else at byte 0"},
        {"a price code after it", "9781615730186 90000", "want 13 digits, found 18"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        char isbn[VALUES_ISBN_SIZE] = "stale";
        struct fault f = values_isbn(rows[i].written, isbn);

        if (f.kind ? f.kind != FAULT_REJECT || strcmp(f.what, rows[i].want) || isbn[0] : strcmp(isbn, rows[i].want))
            fail_msg("%s: '%s' %s", rows[i].when, isbn, f.what);
    }
}

/* One digit wrong, or two neighbours changed about, is what a check digit is for. */
static void test_isbn_catches(void **state)
{
    static const char right[] = "9780306406157";
    char wrong[sizeof right], isbn[VALUES_ISBN_SIZE];
    (void)state;

    for (size_t at = 0; at < sizeof right - 1; at++)
        for (char digit = '0'; digit <= '9'; digit++) {
            memcpy(wrong, right, sizeof right);
            wrong[at] = digit;
            struct fault f = values_isbn(wrong, isbn);
            if (!f.kind != (digit == right[at]))
                fail_msg("%s: %s", wrong, f.kind ? f.what : "taken");
        }
}

static void test_collation(void **state)
{
    static const struct {
        const char *title, *language;
        size_t want;
    } rows[] = {
        {"The Wind in the Willows", "English", 4},
        {"THE WIND", "English", 4},
        {"the wind", "english", 4},
        {"A Tale of Two Cities", "English", 2},
        {"An Ideal Husband", "ENGLISH", 3},
        {"The Wind in the Willows", "", 4},
        {"Le Petit Prince", "", 0},
        {"Tricks", "English", 0},
        {"Theodore", "English", 0},
        {"Another Country", "English", 0},
        {"A-Z", "English", 0},
        {"The", "English", 0},
        {"The ", "English", 0},
        {"A", "", 0},
        {"", "English", 0},
        {" The Wind", "English", 0},
        {"The  Wind", "English", 5},
        {"The\xc2\xa0Wind", "English", 5},
        {"The\xc2\xa0", "English", 0},
        {"The\xc2\xa9 Wind", "English", 0},
        {"Die Hard", "English", 0},
        {"Die Verwandlung", "German", 4},
        {"Ein Sommernachtstraum", "German", 4},
        {"Einer flog \xc3\xbc" "ber das Kuckucksnest", "German", 6},
        {"Eine kurze Geschichte der Zeit", "German", 5},
        {"Des Teufels General", "German", 4},
        {"Diebe", "German", 0},
        {"Le Petit Prince", "French", 3},
        {"Les Mis\xc3\xa9rables", "French", 4},
        {"L'\xc3\xa9tranger", "French", 2},
        {"L\xe2\x80\x99\xc3\xa9tranger", "French", 4},
        {"l' avare", "French", 3},
        {"L'", "French", 0},
        {"L\xe2\x80\x99", "French", 0},
        {"L\xe2\x80", "French", 0},
        {"Une vie", "French", 4},
        {"Des fleurs", "French", 0},
        {"The End", "French", 0},
        {"L'Chaim", "English", 0},
        {"El ingenioso hidalgo", "Spanish", 3},
        {"La casa de los esp\xc3\xadritus", "Spanish", 3},
        {"Lo que el viento se llev\xc3\xb3", "Spanish", 3},
        {"Unos cuantos piquetitos", "Spanish", 0},
        {"Il nome della rosa", "Italian", 3},
        {"L'amica geniale", "Italian", 2},
        {"Un'estate", "Italian", 3},
        {"Un giorno", "Italian", 3},
        {"Gli indifferenti", "Italian", 4},
        {"Gl'innamorati", "Italian", 3},
        {"I promessi sposi", "Italian", 2},
        {"O Alquimista", "Portuguese", 2},
        {"As intermit\xc3\xaancias da morte", "Portuguese", 3},
        {"Uma ma\xc3\xa7\xc3\xa3 no escuro", "Portuguese", 4},
        {"De ontdekking van de hemel", "Dutch", 3},
        {"Het diner", "Dutch", 4},
        {"'t Hooge nest", "Dutch", 3},
        {"\xe2\x80\x99n Huis", "Dutch", 5},
        {"Een", "Dutch", 0},
        {"Den lille havfrue", "Danish", 4},
        {"Et dukkehjem", "Norwegian", 3},
        {"Ett drama", "Swedish", 4},
        {"Az ember trag\xc3\xa9" "di\xc3\xa1ja", "Hungarian", 3},
        {"Els miserables", "Catalan", 4},
        {"The Blue Fox", "Icelandic", 0},
        {"The Idiot", "Russian", 0},
        {"The Idiot", "Englis", 0},
        {"The Idiot", "English, Old", 0},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t found = values_collation(rows[i].title, rows[i].language);

        if (found != rows[i].want)
            fail_msg("'%s' in '%s': %zu, want %zu", rows[i].title, rows[i].language, found, rows[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_isbn),
        cmocka_unit_test(test_isbn_catches),
        cmocka_unit_test(test_collation),
    };

    return cmocka_run_group_tests_name("values", tests, NULL, NULL);
}
