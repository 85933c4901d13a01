#!/usr/bin/env python3
"""Reports in a real browser: slider, curves, search, sorting and navigation, by mouse and by keyboard, at a
phone's width and on a wide screen, light and dark; no complaint on the console, nothing fetched from elsewhere.

    tests/browser/check_report.py [RENO_REPORT [SCREENSHOTS]]

RENO_REPORT: the program, build/release/bin/reno-report by default. SCREENSHOTS: a folder for pictures of the
pages. Needs Chromium (apt-get install chromium; CHROMIUM names another one). Exit status: 0 all is as it
should be, 1 something is not, 77 skipped, there is no browser.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import made_up_runs
from browser import Browser, find_chromium

root = pathlib.Path(__file__).resolve().parents[2]
program = sys.argv[1] if len(sys.argv) > 1 else root / "build/release/bin/reno-report"
screenshots = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else None

WIDE = {"width": 1600, "height": 1000}
PHONE = {"width": 360, "height": 740, "phone": True}

failures = []


def check(condition, what):
    if not condition:
        failures.append(what)
        print("FAILED:", what)


def report(run, *options):
    subprocess.run([program, run, *options], check=True, stdout=subprocess.DEVNULL)
    return run / "report.html"


def texts(page, selector):
    return page.evaluate(f"Array.from(document.querySelectorAll({json.dumps(selector)}), (e) => e.textContent)")


def text(page, selector):
    return (texts(page, selector) or [None])[0]


# Colours of all visible text against the background behind it (WCAG 2.1, 1.4.3: at least 4.5), controls
# without a name, and ids that occur twice.
AUDIT = """(() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = (c) => { const [r, g, b] = c.slice(0, 3).map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = (e) => { for (; e; e = e.parentElement) { const c = channels(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0.5) return c; } return [255, 255, 255]; };
  const problems = [];
  const walker = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());) {
    const e = node.parentElement;
    if (!node.data.trim() || !e.getClientRects().length || e.closest('.tag, .hidden')) continue;
    const style = getComputedStyle(e);
    const [a, b] = [luminance(channels(e.closest('svg') ? style.fill : style.color)), luminance(behind(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) problems.push(`contrast ${ratio.toFixed(2)} of "${node.data.slice(0, 30)}"`);
  }
  for (const e of document.querySelectorAll('main :is(a, button, input, select, [tabindex="0"])')) {
    const name = e.getAttribute('aria-label') || e.textContent.trim() || e.title;
    if (!name) problems.push(`${e.outerHTML.slice(0, 60)} has no name`);
  }
  for (const e of document.querySelectorAll('main img')) if (!e.hasAttribute('alt')) problems.push('an image without alt');
  return [...new Set(problems)];
})()"""


def check_everywhere(browser, file, name, address=""):
    """What holds for every page, at both widths and in both colour schemes."""
    for size_name, size in (("wide", WIDE), ("phone", PHONE)):
        for dark in (False, True):
            where = f"{name}, {size_name}, {'dark' if dark else 'light'}"
            page = browser.open(file, dark=dark, **size)
            if address:
                page.evaluate(f"location.hash = {json.dumps(address)}")
                page.settle()
            check(page.evaluate("document.documentElement.scrollWidth") <= size["width"], f"{where}: wider than the window")
            problems = page.evaluate(AUDIT)
            check(not problems, f"{where}: {problems}")
            background = page.evaluate("getComputedStyle(document.body).backgroundColor")
            check((sum(map(int, re.findall(r"\d+", background))) < 200) == dark, f"{where}: the background is {background}")
            if screenshots:
                page.evaluate("(async () => { for (let y = 0; y < Math.min(document.body.scrollHeight, 6000); y += 500) { scrollTo(0, y); await new Promise((r) => setTimeout(r, 30)); } scrollTo(0, 0); })()")
                page.screenshot(screenshots / f"{name}-{size_name}-{'dark' if dark else 'light'}.png")
            finish(page, where, file)


def finish(page, where, file):
    """Nothing was complained about, and nothing came from elsewhere than the page's folder."""
    page.settle()
    check(not page.complaints, f"{where}: the browser complains: {page.complaints[:3]}")
    home = file.resolve().parent.as_uri() + "/"
    foreign = [url for url in page.requests if not url.startswith(("data:", home))]
    check(not foreign, f"{where}: asked for {foreign[:3]}")
    page.close()


def check_slider(page):
    cut = "document.querySelector('.frame').style.getPropertyValue('--cut')"
    check(page.evaluate(cut) == "50%", "the slider begins in the middle")
    page.click(".frame input", 0.25)
    check(abs(float(page.evaluate(cut).rstrip("%")) - 25) <= 2, f"a click at a quarter moves the slider to {page.evaluate(cut)}")
    shown = page.evaluate("(() => { const [b, f] = ['.divider', '.frame'].map((s) => document.querySelector(s).getBoundingClientRect()); return (b.left + b.width / 2 - f.left) / f.width; })()")
    check(abs(shown - 0.25) < 0.03, f"the line stands at {shown:.2f}")
    before = float(page.evaluate(cut).rstrip("%"))
    page.press("ArrowRight", 3)
    check(float(page.evaluate(cut).rstrip("%")) == before + 3, "arrow keys move the slider")
    page.press("Home")
    check(page.evaluate(cut) == "0%", "Home shows the best image only")
    page.press("End")
    check(page.evaluate("document.querySelector('.frame input').getAttribute('aria-valuetext')") == "100 % initial, 0 % best", "the slider says what it shows")
    page.click(".compare .group button:last-child")
    check(page.evaluate("document.querySelector('.compare').classList.contains('side')"), "side by side")
    lefts = page.evaluate("Array.from(document.querySelectorAll('.frame img'), (e) => e.getBoundingClientRect().left)")
    check(lefts[1] < lefts[0], "the initial image stands left of the best one")
    page.click(".compare .group button:first-child")


def check_curves(page, frames):
    summary = text(page, ".curve .readout")
    check(re.fullmatch(r"−?[\d.]+ → −?[\d.]+", summary), f"a curve says where it goes: {summary}")
    page.hover(".curve svg", 0.6)
    readouts = texts(page, ".curves:first-child .readout")
    at = re.match(r"iteration (\d+): ", readouts[0])
    check(at is not None and all(one.startswith(at[0]) for one in readouts[:3]), f"hovering shows the values of one iteration: {readouts}")
    if frames and at:
        source = page.evaluate("document.querySelector('.frame img').getAttribute('src')")
        check(source.endswith(f"images/{int(at[1]):05}.png"), f"hovering shows that iteration's image: {source}")
    page.hover("h1")
    check(text(page, ".curve .readout") == summary, "without the pointer the summary is back")
    page.focus(".curves")
    page.press("Home")
    page.press("ArrowRight", 2)
    check(text(page, ".curve .readout").startswith("iteration 2: "), "arrow keys walk along the curves")
    check(text(page, ".hidden[aria-live]").startswith("Iteration 2: "), "and the values are spoken")
    page.press("Escape")
    check(text(page, ".curve .readout") == summary, "Escape ends that")


def check_single(browser, folder):
    prompt = "A <b>red</b> dog & a \"green\" cat </script><script>document.title = 'run'</script>"
    run = made_up_runs.make_run(folder / "single", [prompt], single=True, frames=True, size=96, iterations=30)
    file = report(run)
    check_everywhere(browser, file, "single")
    page = browser.open(file, **WIDE)
    check(text(page, "h1") == prompt, "the prompt is text, whatever is in it")
    check_slider(page)
    check_curves(page, frames=True)
    parts = texts(page, ".legend li")
    check("optimising 12.9 s, 74 %" in parts and any(one.startswith("reward pickscore 20.0 ms") for one in parts), f"times with their share: {parts}")
    page.click("details summary")
    rows = texts(page, ".values tbody tr")
    check(len(rows) == 6 and rows[-1].startswith("total loss"), f"the table of values: {rows}")
    finish(page, "single", file)


def check_refined(browser, folder):
    """The images of several steps are another pair, with their own values."""
    file = report(made_up_runs.make_run(folder / "refined", ["a cat"], single=True, iterations=5, refined=True))
    check_everywhere(browser, file, "refined")
    page = browser.open(file, **WIDE)
    check("Refined in 4 steps" in texts(page, "h2"), "refined images have their heading")
    check(len(texts(page, ".values")) == 2 and page.evaluate("document.querySelectorAll('.compare .frame img').length") == 4, "two pairs with a table each")
    scores = [float(one) for one in texts(page, ".values tbody tr:nth-child(4) td:nth-child(4)")]
    check(abs(scores[1] - scores[0] - made_up_runs.TYPICAL["pickscore"][1]) < 2e-3, f"the refined images' own values: {scores}")
    cuts = "Array.from(document.querySelectorAll('.frame'), (e) => e.style.getPropertyValue('--cut'))"
    page.focus("section:nth-of-type(2) input[type=range]")
    page.press("Home")
    check(page.evaluate(cuts) == ["50%", "0%"], f"each pair has its slider: {page.evaluate(cuts)}")
    finish(page, "refined", file)

    file = report(made_up_runs.make_run(folder / "refined-many", [f"prompt {number}" for number in range(12)], iterations=3, refined=True))
    page = browser.open(file, **PHONE)
    check(len(texts(page, ".values")) == 2 and "Refined in 4 steps" in texts(page, "h2"), "means of refined images")
    page.evaluate("location.hash = '#prompt-3-0'")
    page.settle()
    check("Refined in 4 steps" in texts(page, "h2"), "and each image's own")
    finish(page, "refined-many", file)


def shown_numbers(page):
    return [int(re.match(r"#(\d+)", one)[1]) for one in texts(page, ".card .numbers")]


def check_list(page, run, results):
    change = [result["best"]["scores"]["pickscore"] - result["initial"]["scores"]["pickscore"] for result in results]
    by_change = sorted(range(len(results)), key=lambda i: -change[i])
    check(shown_numbers(page) == list(range(60)), "sixty images in the order of the run")
    page.click("button.more")
    check(len(texts(page, ".card")) == 120, "sixty more")
    page.evaluate("(() => { const s = document.querySelector('select[aria-label=\"Sort by\"]'); s.value = 'change-3'; s.dispatchEvent(new Event('change')); })()")
    check(shown_numbers(page) == by_change[:60], "sorted by the change of pickscore, best first")
    page.click(".tools > button")
    check(shown_numbers(page) == sorted(range(len(results)), key=lambda i: change[i])[:60], "and the other way round")

    page.click(".tools .group button:last-child")
    check(len(texts(page, "tbody tr a")) == 60, "as a table")
    page.click("[data-sort=text]")
    names = texts(page, ".scroll tbody tr a")
    check(names == sorted(result["text"] for result in results)[:60], f"a click on a column's head sorts by it: {names[:3]}")
    check(page.evaluate("document.querySelector('th[aria-sort]').getAttribute('aria-sort')") == "ascending", "aria-sort says so")
    page.press("Enter")
    check(page.evaluate("document.querySelector('th[aria-sort]').getAttribute('aria-sort')") == "descending", "Enter on the focused head turns the order")
    page.click(".tools .group button:first-child")

    page.focus("input[type=search]")
    page.type("cat BLUE")
    wanted = [result for result in results if "blue" in result["text"] and "cat" in result["text"]]
    check(text(page, "[role=status]").startswith(f"{len(wanted):,} of {len(results):,} images"), f"found: {text(page, '[role=status]')}, wanted {len(wanted)}")
    page.type(" nothing-like-this")
    check(text(page, ".empty") is not None, "nothing is found, and the page says so")
    page.evaluate("(() => { const s = document.querySelector('input[type=search]'); s.value = ''; s.dispatchEvent(new Event('input')); })()")
    page.evaluate("(() => { const s = document.querySelector('select[aria-label=\"Filter by label\"]'); s.selectedIndex = 2; s.dispatchEvent(new Event('change')); })()")
    value = json.loads(page.evaluate("document.querySelector('select[aria-label=\"Filter by label\"]').value"))[1]
    wanted = sum(result["labels"]["category"] == value for result in results)
    check(text(page, "[role=status]").startswith(f"{wanted:,} of "), f"filtered by {value}")
    page.evaluate("(() => { const s = document.querySelector('select[aria-label=\"Filter by label\"]'); s.value = ''; s.dispatchEvent(new Event('change')); })()")


def check_navigation(page, results):
    by_text = sorted(range(len(results)), key=lambda i: results[i]["text"])
    page.evaluate("(() => { const s = document.querySelector('select[aria-label=\"Sort by\"]'); s.value = 'text'; s.dispatchEvent(new Event('change')); })()")
    page.click(".cards li:nth-child(3) .card")
    check(text(page, "h1") == results[by_text[2]]["text"], "a card leads to its image")
    check(page.evaluate("document.activeElement.tagName") == "H1", "where its title has the focus")
    check_curves(page, frames=False)
    page.click("nav.pager a:last-of-type")
    check(text(page, "h1") == results[by_text[3]]["text"], "next follows the order of the list")
    page.evaluate("history.back()")
    page.wait(f"document.querySelector('h1').textContent === {json.dumps(results[by_text[2]]['text'])}")
    page.evaluate("history.back()")
    page.wait("document.querySelector('.cards') !== null")


def check_benchmark(browser, folder):
    animals, colours = ["cat", "dog", "owl", "fox", "hen"], ["red", "blue", "green", "pink"]
    prompts = [f"{number} photo of a {animals[number % 5]} and a {colours[number * 7 % 4]} bowl, style {number * 37 % 101}" for number in range(400)]
    labels = [{"category": ["Animals", "Food & Drink", "World <Knowledge>"][number % 3]} for number in range(400)]
    run = made_up_runs.make_run(folder / "benchmark", prompts, labels=labels, iterations=12)
    results = [json.loads(line) for line in (run / "results.jsonl").read_text().splitlines()]
    file = report(run, "--pictures", "0")
    check_everywhere(browser, file, "benchmark")
    check_everywhere(browser, file, "benchmark-image", "#prompt-7-0")
    for size in (WIDE, PHONE):
        page = browser.open(file, **size)
        check_list(page, run, results)
        check_navigation(page, results)
        page.wait("Array.from(document.querySelectorAll('.card img')).some((e) => e.naturalWidth === 64)")
        finish(page, "benchmark", file)


def check_size(browser, folder):
    """Twenty thousand images."""
    prompts = [f"prompt {number} with {number * 7919 % 20011} things" for number in range(20000)]
    run = made_up_runs.make_run(folder / "large", prompts, iterations=3, pictures=False)
    started = time.monotonic()
    file = report(run)
    written = time.monotonic()
    page = browser.open(file, **WIDE)
    opened = time.monotonic()
    page.focus("input[type=search]")
    page.type("19999")
    found = time.monotonic()
    wanted = sum("19999" in prompt for prompt in prompts)
    check(text(page, "[role=status]").startswith(f"{wanted} of 20,000"), f"a search among many: {text(page, '[role=status]')}")
    print(f"20,000 images: report {written - started:.1f} s, {file.stat().st_size / 2**20:.1f} MiB, opened in {opened - written:.1f} s, searched in {found - opened:.2f} s")
    check(opened - written < 15 and found - opened < 3, "a large page is usable")
    finish(page, "large", file)


def check_others(browser, folder):
    """An unfinished run, one without rewards' curves, several seeds, pictures that have gone."""
    unfinished = made_up_runs.make_run(folder / "unfinished", ["a cat", "a dog"], iterations=5, finished=False)
    with (unfinished / "metrics.jsonl").open("a") as lines:
        lines.write('{"iteration":5,"prom')  # a run that writes this very moment
    file = report(unfinished)
    check_everywhere(browser, file, "unfinished")
    page = browser.open(file, **WIDE)
    check("goes on, or was stopped" in text(page, ".notice"), "an unfinished run is said to be one")
    check(len(texts(page, ".card")) == 2, "and shows what there is")
    finish(page, "unfinished", file)

    one_step = made_up_runs.make_run(folder / "one-step", ["a cat"], iterations=1, single=True, pictures=False)
    file = report(one_step)
    check_everywhere(browser, file, "one-step")

    seeds = made_up_runs.make_run(folder / "seeds", ["a cat", "a dog", "an owl"], iterations=4, seeds=(0, 1, 2, 3))
    file = report(seeds)
    page = browser.open(file, **WIDE)
    check(len(texts(page, ".card")) == 12 and "#1, seed 2" in "".join(texts(page, ".card .numbers")), "several seeds of a prompt")
    page.click(".tools .group button:last-child")
    check(len(texts(page, ".scroll tbody tr a")) == 12, "also in the table")
    finish(page, "seeds", file)


def check_sweep(browser, folder):
    prompts = [f"photo {number} of a bowl, <b>in light {number * 7 % 11}</b>" for number in range(24)]
    sweep = made_up_runs.make_sweep(folder / "sweep", prompts, iterations=6)
    report(sweep / "000 all")
    file = report(sweep)
    check_everywhere(browser, file, "sweep")
    page = browser.open(file, **WIDE)
    check(texts(page, ".cells-table tbody th")[0] == "all (reference)", "the reference is the full objective")
    check(len(texts(page, ".cells-table tbody tr")) == 6, "a row for each cell")
    check("broken (failed)" in text(page, ".notice"), "a cell that failed is named")
    check(text(page, ".cells-table tbody tr:nth-child(2) td:nth-child(3)").startswith("○"), "what an objective leaves out is marked")
    check(page.evaluate("document.querySelectorAll('.cells').length") == 5, "a plot for each reward; total losses of different objectives do not compare")
    check(page.evaluate("document.querySelector('.cells').querySelectorAll('.dot.open').length") == 1, "with an open dot for the cell that leaves it out")
    page.click("[data-sort='2']")
    column = [float(re.sub(r"±.*", "", one).replace("○", "").replace("−", "-")) for one in texts(page, ".cells-table tbody td:nth-child(5)")]
    check(column == sorted(column, reverse=True), f"sorted by a value, best first: {column}")
    page.press("Enter")
    check(texts(page, ".cells-table tbody td:nth-child(5)")[0].startswith(tuple(f"{sign}{column[-1]}" for sign in ("", "○ "))), "Enter on the focused head turns the order")
    page.press("Enter")
    names = texts(page, ".cells-table tbody th")
    page.wait("document.querySelector('.cells text[text-anchor=end]') !== null")
    check([one.replace(" (reference)", "") for one in names] == texts(page, ".cells:first-child text[text-anchor=end]"), "the plots follow the table")
    page.click(".tools .group button:last-child")
    check(" to " in text(page, ".cells-table tbody tr:has(td .mark) td small"), "differences with their interval")
    check(page.evaluate("Array.from(document.querySelectorAll('.cells-table a')).map((e) => e.getAttribute('href'))") == ["000%20all/report.html"], "cells with a page link to it")
    page.focus("input[type=search]")
    page.type("without clip")
    check(len(texts(page, ".cells-table tbody tr")) == 1, "a search among the cells")
    strips = page.evaluate("Array.from(document.querySelectorAll('.strip'), (e) => Array.from(e.querySelectorAll('.note'), (n) => parseFloat(n.textContent)))")
    check(len(strips) == 6 and all(one == sorted(one, reverse=True) and len(one) == 6 for one in strips), f"pictures from best to worst: {strips}")
    check(all(a[0] - a[-1] >= b[0] - b[-1] - 1e-6 for a, b in zip(strips, strips[1:])), "the prompts that differ most first")
    page.evaluate("(() => { const s = document.querySelector('select'); s.value = 'pickscore'; s.dispatchEvent(new Event('change')); })()")
    check(page.evaluate("parseFloat(document.querySelector('.strip .note').textContent)") > 15, "for another reward")
    finish(page, "sweep", file)

    file = report(made_up_runs.make_sweep(folder / "seeds-sweep", prompts[:3], iterations=3, seeds=(0, 7)))
    page = browser.open(file, **PHONE)
    titles = texts(page, ".contrast h3")
    check(len(titles) == 6 and all(title.endswith((" seed 0", " seed 7")) for title in titles), f"of several seeds, which one: {titles}")
    words = page.evaluate("Math.max(...Array.from(document.querySelectorAll('.cells-table tbody th'), (e) => e.getClientRects()[0].height))")
    check(words < 90, f"names of objectives are broken between words only: {words}")
    finish(page, "seeds-sweep", file)

    file = report(made_up_runs.make_sweep(folder / "many", prompts[:2], iterations=2, more_cells=300))
    page = browser.open(file, **PHONE)
    check(len(texts(page, ".cells-table tbody tr")) == 100, "a hundred cells of three hundred")
    page.click("button.more")
    check(len(texts(page, ".cells-table tbody tr")) == 200, "and more")
    finish(page, "many cells", file)


def main():
    chromium = find_chromium()
    if chromium is None:
        print("SKIPPED: no Chromium (apt-get install chromium)")
        sys.exit(77)
    if screenshots:
        screenshots.mkdir(parents=True, exist_ok=True)
    browser = Browser(chromium)
    try:
        with tempfile.TemporaryDirectory(prefix="reno-report-") as temporary:
            folder = pathlib.Path(temporary)
            for part in (check_single, check_refined, check_benchmark, check_sweep, check_others, check_size):
                part(browser, folder)
                print(part.__name__, "done")
    finally:
        browser.close()
    print(f"{len(failures)} failures" if failures else "passed")
    sys.exit(1 if failures else 0)


main()
