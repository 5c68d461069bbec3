"""monitor's page in a browser: it can be read by everybody, on anything, and nothing in it does what it should not."""
import pytest
from browser import Browser, axe_source
from shelfwire import TOPICS, wait_for
from test_monitor import HOSTILE, Page

PLACES = ["/", "/desk", "/find", "/find?q=cs_00000000", "/dead-letters", "/dead-letters?state=decided", "/dead-letters/1", "/log", "/nothing"]
LOOKS = {"wide": {}, "dark": {"dark": True}, "phone": {"width": 360, "height": 740}}


@pytest.fixture(scope="module")
def axe():
    return axe_source()


@pytest.fixture(scope="module")
def browser():
    it = Browser()
    yield it
    it.close()


@pytest.fixture
def page(world):
    """A library where everything that can be shown is to be seen, most of it hostile."""
    world.make_topics(*TOPICS, *(t + ".dlq" for t in TOPICS))
    windows = world.make_windows(6, send=False)
    for window, answer in zip(windows, ("no_card", "unknown", "expired", "made", "set_aside")):
        world.db.rows("UPDATE appts SET answer = %s, reason = %s WHERE appt_id = %s", answer, HOSTILE, window.appt_id)
    for i in range(3):
        world.produce_raw("bookings.new", HOSTILE, HOSTILE + str(i))
    worker = world.start("bookings-new")
    it = Page(world, [worker])
    wait_for(lambda: world.db.one("SELECT count(*) FROM dead_letters") == 3, "the dead letters are not read", 60)
    it.do("done", desk_id=999, note=HOSTILE)
    it.do("pause", kind="location", name="1234", why=HOSTILE)
    it.do("discard", id=3, sure=1, why=HOSTILE)
    world.db.rows("INSERT INTO alerts (name, subject, summary) VALUES ('DeadLetters', 'x', %s)", HOSTILE)
    wait_for(lambda: it.stages(), "nothing is seen", 60)
    return it


def is_expected(entry):
    """What is not there is said not to be; the browser may say so when the next page is on already."""
    return entry.get("url", "").endswith("/nothing") and "404" in entry["text"]


@pytest.mark.slow
@pytest.mark.parametrize("look", LOOKS)
def test_everybody_can_read_it(page, browser, axe, look):
    browser.look(**LOOKS[look])
    wrong = []
    for place in PLACES:
        browser.go(page.url + place)
        complaints = [c for c in browser.complaints() if not is_expected(c.get("entry", {}))]
        assert not complaints, (place, complaints)
        assert browser.js("document.documentElement.scrollWidth <= innerWidth"), f"{place} is wider than the {look} screen"
        assert browser.js("document.querySelectorAll('script').length") == 1 and not browser.js("!!window.alerted"), place
        browser.js("document.querySelectorAll('details').forEach(d => d.open = true)")
        wrong += [f"{place}: {line}" for line in browser.axe(axe)]
    assert not wrong, "\n".join(wrong)


def test_it_looks_again_by_itself_but_not_while_somebody_writes(page, browser):
    browser.look()
    browser.go(page.url + "/desk")
    rows = "document.querySelectorAll('tbody tr').length"
    before = browser.js(rows)
    page.world.db.rows("SELECT desk_say('import_needed', 'oneclick', 'run it', NULL)")
    wait_for(lambda: browser.js(rows) == before + 1, "the page does not look again", 40, 0.5)
    browser.js("(() => { const d = document.querySelector('main details'); d.open = true; d.querySelector('input:not([type=hidden])').focus(); })()")
    browser.js("document.activeElement.value = 'half a wo'")
    page.world.db.rows("SELECT desk_say('import_needed', 'twoclick', 'run it', NULL)")
    wait_for(lambda: page.html("/desk").count("import_needed") >= 2, "the row is not there")
    # two of its looks later the writer still has what was written
    browser.js("new Promise(r => setTimeout(r, 21000))")
    assert browser.js("document.activeElement.value") == "half a wo" and browser.js(rows) == before + 1


def test_the_keyboard_is_enough(page, browser):
    browser.look()
    browser.go(page.url + "/desk")
    browser.key("Tab", 9)
    assert browser.js("document.activeElement.className") == "skip"
    seen = set()
    for _ in range(60):
        browser.key("Tab", 9)
        seen.add(browser.js("(document.activeElement.textContent || document.activeElement.name || '').trim().slice(0, 20)"))
    assert {"Overview", "Desk", "Dead letters", "Find", "Log", "act"} <= seen, seen
    assert browser.js("getComputedStyle(document.activeElement).outlineStyle") != "none"
