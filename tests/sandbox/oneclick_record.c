/*
 * oneclick_record - a title's record, made from its number and a seed: the same two give the same bytes.
 *
 * The shapes are those of the recorded answers of media/all (NYPL-Simplified/circulation, tests/files/rbdigital): a series that
 * is absent, "Default Blank" or real, narrators on e-books, irregular blanks around ";", lists with commas. How often each
 * comes is our own guess, and so are the members that are empty, null or missing now and then: the average is some
 * 1,000 bytes. The texts below are JSON already, some letters escaped and some not, because both come in real answers.
 *
 * The ISBN depends on the number alone, so another seed makes other records of the same titles.
 */
#include "oneclick.h"

#include <stdlib.h>

#define S(literal) SLICE(literal)

struct pen { char *at; uint64_t random; };
struct range { size_t from, count; };            /* of a table */

/* ---- words ---- */

static const struct slice last_names[] = {
    S("Hopkins"), S("Pierce"), S("Guskin"), S("Flanagan"), S("Campbell"), S("Potter"), S("O'Brien"), S("van den Berg"),
    S("de la Cruz"), S("Le Guin"), S("St. John"), S("Smith-Jones"), S("Müller"), S("Ó Súilleabháin"),
    S("García Márquez"), S("Ölçer"), S("Şahin"), S("İnci"), S("Çağlar"),
    S("Işık"), S("Достоевский"),
    S("Ахматова"), S("Nguyễn"), S("Łukasiewicz"), S("Dvor\u030ca\u0301k"),
    S("Br\\u00f6nte"), S("King, Jr."), S("X"), S("Wolfeschlegelsteinhausenbergerdorff"), S("村上"),
};
static const struct slice first_names[] = {
    S("Ellen"), S("Tamora"), S("Laura"), S("Cassandra"), S("Kirsten"), S("J. R. R."), S("Mary Ann"), S("Jean-Luc"),
    S("Jose\u0301"), S("Zoë"), S("Björn"), S("İbrahim"), S("Gülşen"), S("Анна"),
    S("Фёдор"), S("Ayşe"), S("Ngọc"), S("W."), S("春樹"), S("Ren\\u00e9e"), S("Dr. Ruth"),
};
static const struct slice one_word_names[] = {
    S("jeremy"), S("Voltaire"), S("Living Language"), S("Anonymous"), S("Гомер"), S("Plato"),
    S("Various"), S("孔子"), S("AA.VV."),
};
static const struct slice joints[] = { S("; "), S("; "), S("; "), S("; "), S(";"), S(";"), S(" ; "), S(" ;"), S(";  ") };

static const struct slice adjectives[] = {
    S("Silent"), S("Last"), S("Hidden"), S("Burning"), S("Second"), S("Golden"), S("Invisible"), S("Ordinary"), S("Broken"),
    S("Wild"), S("Small"), S("Northern"), S("Forgotten"), S("Crimson"), S("Naïve"), S("Brave"), S("Hundred-Year"), S("Late"),
};
static const struct slice nouns[] = {
    S("Garden"), S("River"), S("House"), S("Emperor"), S("Daughter"), S("Winter"), S("Library"), S("Road"), S("Promise"),
    S("Machine"), S("Orchard"), S("Lighthouse"), S("Letter"), S("Detective"), S("Café"), S("Cartographer"), S("Sea"),
    S("Kitchen"), S("Mountain"), S("Guest"), S("Fox"), S("Silence"), S("Cities"), S("Wolves"), S("Tricks"),
};
static const struct slice articles[] = { S("The "), S("The "), S("The "), S("A "), S("An "), S(""), S(""), S("the ") };

/* Whole titles by language: the first of a range, and how many. */
enum { ENGLISH, SPANISH, GERMAN, FRENCH, RUSSIAN, TURKISH, ITALIAN, DUTCH, LANGUAGES };
static const struct slice languages[LANGUAGES] = {
    S("English"), S("Spanish"), S("German"), S("French"), S("Russian"), S("Turkish"), S("Italian"), S("Dutch"),
};
static const struct range titles_in[LANGUAGES] = {
    { 0, 10 }, { 10, 4 }, { 14, 4 }, { 18, 5 }, { 23, 4 }, { 27, 5 }, { 32, 3 }, { 35, 3 },
};
static const struct slice whole_titles[] = {
    S("1984"), S("...And Then What?"), S("\\\"I\\\" Is for Innocent"), S("In-Flight Russian"), S("Emperor Mage: The Immortals"),
    S("A"), S("Tips & Tricks: C++ <em>the hard way</em>"), S("\\ud83d\\udc31 The Cat 🚀"), S("  Spaces, Before and After "),
    S("The \\u201cReal\\u201d Story / Vol. 2 \\/ Part 1"),
    S("El amor en los tiempos del cólera"), S("Los detectives salvajes"), S("La casa de los espíritus"),
    S("¿Qué me quieres, amor?"),
    S("Der Zauberberg"), S("Die Verwandlung"), S("Das Parfum"), S("Die Straße der Öfen"),
    S("L'Étranger"), S("Le Petit Prince"), S("Les Misérables"), S("L’œuvre au noir"), S("Un c\\u0153ur simple"),
    S("Война и мир"),
    S("Преступление и наказание"),
    S("\\u041c\\u0430\\u0441\\u0442\\u0435\\u0440"), S("Ёлки"),
    S("İnce Memed"), S("Kar"), S("Işık Yağmuru"), S("Sümbüllü Köşkün Çocukları"),
    S("\\u015eeker Portakal\\u0131"),
    S("Il nome della rosa"), S("Lo hobbit"), S("Gli indifferenti"),
    S("De aanslag"), S("Het diner"), S("'t Hooge Nest"),
};

static const struct slice series[] = {
    S("Immortals (Pierce)"), S("The Wheel of Winter"), S("Inspector Çetin İkmen"), S("A Cartographer's Case"),
    S("Dragons & Daughters"), S("Book of \\\"Hours\\\""), S("Kommissar Müller"), S("Magic Tree House"), S("Полдень"),
};
static const struct slice publishers[] = {
    S("Highbridge Company"), S("Full Cast Audio"), S("Random House Audio Publishing Group"), S("Recorded Books, Inc."),
    S("HarperCollins & Sons"), S("Éditions du Seuil"), S("Can Yayınları"), S("Blackstone Audio, Inc. "), S("АСТ"),
};
static const struct slice audiences[] = {
    S("Adult"), S("Adult"), S("Adult"), S("Adult"), S("Young Adult"), S("Childrens"), S("Beginning Reader"), S("adult"),
};
static const struct slice genres[] = {
    S("JUVENILE FICTION / Social Themes / Adolescence"), S("JUVENILE FICTION / Fantasy & Magic"),
    S("FOREIGN LANGUAGE STUDY / Russian"), S("FICTION / Mystery & Detective / General"), S("FICTION / General"),
    S("FICTION / Literary"), S("BIOGRAPHY & AUTOBIOGRAPHY / Personal Memoirs"), S("COOKING / Regional & Ethnic / Turkish"),
    S("SELF-HELP / Personal Growth / Happiness"), S("HISTORY / Europe / Russia & the Former Soviet Union"),
};
static const struct slice genre_joints[] = { S("; "), S(";"), S(" ; "), S("; ") };
static const struct slice slugs[] = {
    S("juvenile-fiction"), S("fantasy"), S("foreign-language-study"), S("mystery"), S("general-fiction"), S("literary-fiction"),
    S("biography-autobiography"), S("cooking"), S("self-help"), S("history"), S("humor"), S("science-fiction"),
};
static const struct slice slug_joints[] = { S(","), S(","), S(","), S(", ") };

static const struct slice sentences[] = {
    S("A \\\"New York Times\\\" bestselling author delivers a gripping new work that tells five moving stories. "),
    S("In this third volume of the popular quartet, she enters a glittering world laced with danger and treachery. "),
    S("It's the ideal way to learn before you land! "), S("Based on a true story. "), S("Unabridged. "),
    S("The 60-minute program teaches enough to get by in every situation--greetings, directions, checking into a hotel. "),
    S("Winner of the 2009 Something Award; shortlisted for two others. "),
    S("When a stranger arrives with nothing but a key and a name, the whole village must decide whom to believe. "),
    S("Told in alternating voices, this is a novel about taking leaps of faith, falling down, and growing up. "),
    S("She thought the house was empty. She was wrong. "),
    S("Drawing on letters, diaries and interviews, the author follows one family through four generations. "),
    S("<p>A <b>stunning</b> début &amp; an <i>instant classic</i>.</p>"), S("<br />"), S("<br/>\\r\\n"),
    S("&ldquo;Unputdownable.&rdquo; &#8212; <em>The Times</em> "), S("“A tour de force” — Kirkus (starred) "),
    S("\\u2018Extraordinary\\u2019 \\u2013 The Guardian\\u2026 "), S("\\r\\n\\r\\n"),
    S("\\n\\t• Over 100 recipes\\n\\t• Index "),
    S("Роман о любви, войне и "
      "памяти. "),
    S("İstanbul'da geçen, gölgeli ve ışıklı bir aile öyküsü. "),
    S("Eine Geschichte über Größe, Müßiggang und Äpfel. "), S("📚🎉 New for summer! "),
    S("\\ud83d\\ude80 To the stars\\ud83c\\udf1f! "),
    S("Cafe\u0301, re\u0301sume\u0301, Dvor\u030ca\u0301k: spelled the long way. "),
    S("Flag 🇹🇷, family 👨\u200d👩\u200d👧. "), S("Price\u00a0today:\u00a0$9.99 \\\\ C:\\\\books\\/new "),
    S("村の図書館についての物語。 "),
};

/* ---- writing ---- */

/* splitmix64: any state is as good as any other, so a number and a seed make one by themselves. */
static uint64_t draw(struct pen *p)
{
    uint64_t z = p->random += UINT64_C(0x9E3779B97F4A7C15);

    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static size_t below(struct pen *p, size_t n)
{
    return (size_t)((draw(p) >> 32) * n >> 32);
}

static bool one_in(struct pen *p, size_t n)
{
    return below(p, n) == 0;
}

static void put(struct pen *p, struct slice s)
{
    memcpy(p->at, s.at, s.len);
    p->at += s.len;
}

#define PUT(p, literal) put(p, SLICE(literal))
#define PICK(p, table) ((table)[below(p, COUNT(table))])

static void put_number(struct pen *p, uint64_t n)
{
    char digits[24];
    size_t at = sizeof digits;

    do
        digits[--at] = (char)('0' + n % 10);
    while (n /= 10);
    put(p, (struct slice){ digits + at, sizeof digits - at });
}

static void put_two(struct pen *p, size_t n)
{
    *p->at++ = (char)('0' + n / 10);
    *p->at++ = (char)('0' + n % 10);
}

/* Some members are missing, empty or null in one record of so many; then there is no more to write. */
static bool odd(struct pen *p, struct slice name, size_t one_in_so_many)
{
    size_t which = below(p, one_in_so_many * 6);

    if (which < 3)
        return true;                 /* missing */
    put(p, name);
    if (which >= 6)
        return false;
    if (which < 5)
        PUT(p, "\"\"");
    else
        PUT(p, "null");
    PUT(p, ",");
    return true;
}

static void put_people(struct pen *p, size_t max)
{
    size_t count = one_in(p, 3) ? 1 + below(p, max) : 1;

    PUT(p, "\"");
    for (size_t i = 0; i < count; i++) {
        if (i)
            put(p, PICK(p, joints));
        if (one_in(p, 12)) {
            put(p, PICK(p, one_word_names));
            continue;
        }
        put(p, PICK(p, last_names));
        PUT(p, ", ");
        put(p, PICK(p, first_names));
    }
    if (one_in(p, 40))
        PUT(p, ";");
    PUT(p, "\",");
}

static void put_title(struct pen *p, size_t language)
{
    PUT(p, "\"title\":\"");
    if (language != ENGLISH || one_in(p, 25)) {
        put(p, whole_titles[titles_in[language].from + below(p, titles_in[language].count)]);
    } else {
        put(p, PICK(p, articles));
        if (!one_in(p, 3)) {
            put(p, PICK(p, adjectives));
            PUT(p, " ");
        }
        put(p, PICK(p, nouns));
        if (one_in(p, 4)) {
            PUT(p, " of the ");
            put(p, PICK(p, nouns));
        }
        if (one_in(p, 6)) {
            PUT(p, ": A Novel, Book ");
            put_number(p, 1 + below(p, 40));
        }
    }
    PUT(p, "\",");
}

static void put_series(struct pen *p)
{
    size_t which = below(p, 100), total = 1 + below(p, 12);

    if (which < 55) {
        PUT(p, "\"seriesPosition\":0,\"seriesTotal\":0,");
    } else if (which < 65) {
        PUT(p, "\"seriesName\":\"Default Blank\",\"seriesPosition\":0,\"seriesTotal\":");
        put_number(p, which == 64 ? 2015 : 0);
        PUT(p, ",");
    } else {
        PUT(p, "\"seriesName\":\"");
        put(p, PICK(p, series));
        PUT(p, "\",\"seriesPosition\":");
        put_number(p, which < 70 ? 0 : 1 + below(p, total));
        PUT(p, ",\"seriesTotal\":");
        put_number(p, which < 72 ? 0 : total);
        PUT(p, ",");
    }
}

static void put_date(struct pen *p)
{
    if (one_in(p, 60))
        return;
    PUT(p, "\"publicationDate\":\"");
    put_number(p, one_in(p, 10) ? 1900 + below(p, 100) : 2000 + below(p, 21));
    PUT(p, "-");
    put_two(p, 1 + below(p, 12));
    PUT(p, "-");
    put_two(p, 1 + below(p, 28));
    PUT(p, "T00:00:00Z\",");
}

static void put_description(struct pen *p)
{
    size_t which, count;
    const char *end;

    if (odd(p, S("\"description\":"), 20))
        return;
    which = below(p, 100);
    count = which < 80 ? 1 + below(p, 7) : which < 98 ? 6 + below(p, 10) : 100;
    end = p->at + 4000;
    PUT(p, "\"");
    while (count-- && p->at < end)
        put(p, PICK(p, sentences));
    PUT(p, "\",");
}

static void put_genres(struct pen *p)
{
    size_t count = one_in(p, 4) ? 2 + below(p, 3) : 1;

    if (!odd(p, S("\"genres\":"), 50)) {
        PUT(p, "\"");
        for (size_t i = 0; i < count; i++) {
            if (i)
                put(p, PICK(p, genre_joints));
            put(p, PICK(p, genres));
        }
        PUT(p, "\",");
    }
    if (odd(p, S("\"primaryGenre\":"), 50))
        return;
    PUT(p, "\"");
    for (size_t i = 0; i < count; i++) {
        if (i)
            put(p, PICK(p, slug_joints));
        put(p, PICK(p, slugs));
    }
    PUT(p, "\",");
}

static void put_images(struct pen *p, uint32_t number)
{
    static const struct slice sizes[][2] = {
        { S("small"), S("71x108") }, { S("medium"), S("95x140") }, { S("large"), S("128x192") },
    };
    size_t which = below(p, 100), count = which < 3 ? 0 : which < 8 ? 1 : COUNT(sizes);

    if (which == 99)
        return;
    PUT(p, "\"images\":[");
    for (size_t i = 0; i < count; i++) {
        if (i)
            PUT(p, ",");
        PUT(p, "{\"name\":\"");
        put(p, sizes[i][0]);
        PUT(p, "\",\"url\":\"http://images.oneclickdigital.com/");
        put_number(p, 1740000 + (uint64_t)number);
        PUT(p, "/");
        put_number(p, 1740000 + (uint64_t)number);
        PUT(p, "_image_");
        put(p, sizes[i][1]);
        PUT(p, ".jpg\"}");
    }
    PUT(p, "],");
}

/* ---- the record ---- */

static struct pen pen_of(uint32_t number, uint32_t seed, enum media *ret_media, bool *ret_available)
{
    struct pen p = { NULL, (uint64_t)seed << 32 | number };

    *ret_media = below(&p, 10) < 4 ? MEDIA_EBOOK : MEDIA_EAUDIO;
    *ret_available = below(&p, 100) < (*ret_media == MEDIA_EBOOK ? 65 : 95);
    return p;
}

void record_traits(uint32_t number, uint32_t seed, enum media *ret_media, bool *ret_available)
{
    pen_of(number, seed, ret_media, ret_available);
}

void record_write(uint32_t number, uint32_t seed, struct text *out)
{
    enum media media;
    bool available;
    struct pen p = pen_of(number, seed, &media, &available);
    size_t language = one_in(&p, 7) ? below(&p, LANGUAGES) : ENGLISH;
    char isbn[ISBN_LEN], *start;

    text_reserve(out, RECORD_MAX);
    p.at = start = out->at + out->len;
    PUT(&p, "{");
    put_series(&p);
    put_date(&p);
    PUT(&p, "\"hasDigitalRights\":");
    put(&p, one_in(&p, 2) ? S("true,") : S("false,"));
    put_description(&p);
    if (!odd(&p, S("\"publisher\":"), 60)) {
        PUT(&p, "\"");
        put(&p, PICK(&p, publishers));
        PUT(&p, "\",");
    }
    if ((media == MEDIA_EAUDIO || one_in(&p, 5)) && !odd(&p, S("\"narrators\":"), 30))
        put_people(&p, 5);
    if (!odd(&p, S("\"audience\":"), 60)) {
        PUT(&p, "\"");
        put(&p, PICK(&p, audiences));
        PUT(&p, "\",");
    }
    put_genres(&p);
    record_isbn(number, isbn);
    PUT(&p, "\"isbn\":\"");
    put(&p, (struct slice){ isbn, ISBN_LEN });
    PUT(&p, "\",\"mediaType\":\"");
    put(&p, slice_of(media_names[media]));
    PUT(&p, "\",");
    put_title(&p, language);
    if (!odd(&p, S("\"authors\":"), 40))
        put_people(&p, 4);
    if (!odd(&p, S("\"language\":"), 80)) {
        PUT(&p, "\"");
        put(&p, languages[language]);
        PUT(&p, "\",");
    }
    put_images(&p, number);
    PUT(&p, "\"titleId\":");
    put_number(&p, (uint64_t)record_id(number));
    PUT(&p, "}");
    if (p.at - start > RECORD_MAX)
        abort();
    out->len += (size_t)(p.at - start);
}

/* ---- ISBNs ---- */

static char check_digit(const char digits[ISBN_LEN - 1])
{
    int sum = 0;

    for (int i = 0; i < ISBN_LEN - 1; i++)
        sum += (digits[i] - '0') * (i % 2 ? 3 : 1);
    return (char)('0' + (10 - sum % 10) % 10);
}

/* Neighbours lie far apart: 3^18 has no divisor in common with 10^9, so no two numbers share an ISBN. */
void record_isbn(uint32_t number, char ret_isbn[ISBN_LEN])
{
    uint64_t body = ((uint64_t)number * 387420489 + 193000000) % 1000000000;

    memcpy(ret_isbn, "978", 3);
    for (int i = ISBN_LEN - 2; i > 2; i--) {
        ret_isbn[i] = (char)('0' + body % 10);
        body /= 10;
    }
    ret_isbn[ISBN_LEN - 1] = check_digit(ret_isbn);
}

bool isbn_valid(struct slice isbn)
{
    if (isbn.len != ISBN_LEN)
        return false;
    for (size_t i = 0; i < isbn.len; i++)
        if (isbn.at[i] < '0' || isbn.at[i] > '9')
            return false;
    return isbn.at[ISBN_LEN - 1] == check_digit(isbn.at);
}
