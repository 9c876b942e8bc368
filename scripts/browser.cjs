// Drives Chromium over a report's page; ends with 1 where something is wrong. Called by scripts/browser.
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const { pathToFileURL } = require("node:url");
const { chromium } = require("playwright-core");
const { accessible } = require("./browser-axe.cjs");

const [page_file, pictures] = process.argv.slice(2);
const faults = [];
const check = (holds, what) => { if (!holds) faults.push(what); };

const WIDTHS = [1280, 400];
const SCHEMES = ["light", "dark"];

const open = async (browser, width, scheme, url = pathToFileURL(page_file).href) => {
  // The page's own policy forbids strangers' scripts, axe's among them: it is tested by `policy` and set aside elsewhere.
  const context = await browser.newContext({
    viewport: { width, height: 900 }, colorScheme: scheme, bypassCSP: true, offline: true,
  });
  const page = await context.newPage();
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) faults.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => faults.push(`script: ${error.message}`));
  page.on("request", (request) => {
    if (!request.url().startsWith("file:")) faults.push(`asked the network: ${request.url()}`);
  });
  await page.goto(url);
  await page.waitForFunction(() => document.documentElement.dataset.ready !== undefined);
  return { context, page };
};

const shown = (page) => page.locator("#shown").textContent();
const column = (page, index) =>
  page.locator("#records tbody tr").evaluateAll((rows, at) => rows.map((row) => row.cells[at].textContent), index);

// With the page's policy in force: our script runs, nobody else's does.
const policy = async (browser) => {
  const context = await browser.newContext({ offline: true });
  const page = await context.newPage();
  const refused = [];
  page.on("console", (message) => refused.push(message.text()));
  await page.goto(pathToFileURL(page_file).href);
  await page.waitForFunction(() => document.documentElement.dataset.ready !== undefined);
  check(refused.length === 0, `the policy refuses something of ours: ${refused}`);
  await page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "window.stranger = true";
    document.body.append(script);
  });
  check(!(await page.evaluate(() => window.stranger === true)), "a script that is not ours ran");
  await context.close();
};

// Filters, sorts and turns pages as a reader would, with the keyboard too.
const use = async (page) => {
  const heads = await page.locator("#records thead button").allTextContents();
  const at = (name) => heads.indexOf(name);
  const narrow = await page.evaluate(() => innerWidth < 736);
  if (narrow) return useNarrow(page, at);
  const total = await shown(page);
  check(/^Rows 1–\d+ of [\d,]+ \(of [\d,]+ records\)$/.test(total), `the status reads: ${total}`);
  const before = await column(page, at("record"));

  const sort = page.locator("#records thead button", { hasText: /^record$/ });
  await sort.focus();
  await page.keyboard.press("Enter");
  await page.keyboard.press("Enter");
  check(await page.locator("#records th[aria-sort=descending]").count() === 1, "no column says that it is sorted");
  const down = await column(page, at("record"));
  check(down[0] !== before[0], "sorting changed nothing");
  const natural = [...down].sort(new Intl.Collator("en", { numeric: true }).compare).reverse();
  check(JSON.stringify(natural) === JSON.stringify(down), "the rows are not in descending order");

  await page.locator("#next").click();
  check((await shown(page)).startsWith("Rows 51–"), "there is no second page");
  const paired = at("change") >= 0;
  const name = paired ? "status after" : "status";
  const status = page.getByRole("combobox", { name, exact: true });
  const options = await status.locator("option").allTextContents();
  for (const option of options.slice(1)) {
    await status.selectOption({ label: option });
    const cells = await column(page, at(name));
    check(cells.length > 0 && cells.every((cell) => cell === option), `the filter ${option} lets others pass`);
  }
  await page.locator("#search").fill("no such text anywhere");
  check((await shown(page)).startsWith("Rows 0–0 of 0"), "the search finds what is not there");
  await page.locator("#clear").click();
  check((await shown(page)) === total, `after clearing: ${await shown(page)}, not ${total}`);
  await page.locator("#search").fill(before[3]);
  const lines = await page.locator("#records tbody tr").allTextContents();
  check(lines.length > 0 && lines.every((line) => line.includes(before[3])), "the search finds something else");
  await page.locator("#clear").click();
  if (paired) await useDifferent(page, at("change"), total);
};

// The rows of a narrow screen are cards; they are sorted by a choice, because there are no headings.
const useNarrow = async (page, at) => {
  const total = await shown(page);
  const before = await column(page, at("record"));
  await page.locator("#sort").selectOption({ label: "record ↓" });
  const down = await column(page, at("record"));
  check(down[0] !== before[0], "the choice of an order changes nothing");
  const cut = await page.locator("#records tbody tr").first().evaluate((row) =>
    [...row.cells].filter((cell) => cell.getBoundingClientRect().right > innerWidth).length);
  check(cut === 0, `${cut} cells of a card are cut`);
  await page.locator("#clear").click();
  await page.locator("#sort").selectOption("");
  check((await shown(page)) === total, "the choice of no order leaves something");
  // What is wider than the screen says so.
  const silent = await page.evaluate(() => [...document.querySelectorAll(".scroll, .drawing")].filter((box) =>
    box.scrollWidth > box.clientWidth + 1 && !getComputedStyle(box, "::before").content.includes("scroll")).length);
  check(silent === 0, `${silent} tables or figures are cut without a sign`);
};

// Of two runs: only the records whose outcome differs.
const useDifferent = async (page, change, total) => {
  await page.getByRole("checkbox", { name: "different only" }).check();
  const cells = await column(page, change);
  check(cells.every((cell) => cell !== "same"), "a record that is the same passes `different only`");
  check((await shown(page)) !== total, "`different only` leaves out nothing");
  await page.locator("#clear").click();
  check((await shown(page)) === total, "clearing keeps `different only`");
  check(await page.locator(".versus").count() === 1, "two runs have no headline of their difference");
};

// What is chosen stands in the address, and another reader who opens it sees the same.
const address = async (browser) => {
  const { context, page } = await open(browser, 1280, "light");
  const heads = await page.locator("#records thead button").allTextContents();
  const name = heads.includes("change") ? "status after" : "status";
  const select = page.getByRole("combobox", { name, exact: true });
  const [, option] = await select.locator("option").allTextContents();
  await select.selectOption({ label: option });
  await page.locator("#search").fill("1");
  await page.locator("#records thead button", { hasText: /^record$/ }).click();
  const [url, rows, status] = [page.url(), await column(page, heads.indexOf("record")), await shown(page)];
  check(url.includes("#?") && url.includes("sort=record") && url.includes("q=1"), `the address is ${url}`);
  await context.close();
  const other = await open(browser, 1280, "light", url);
  check((await shown(other.page)) === status, `the address gives ${await shown(other.page)}, not ${status}`);
  const again = await column(other.page, heads.indexOf("record"));
  check(JSON.stringify(again) === JSON.stringify(rows), "the address gives other rows");
  await other.page.locator("#clear").click();
  check(other.page.url().includes("sort=record") && !other.page.url().includes("q="), "clearing keeps the search in the address");
  await other.context.close();
};

const accessibleUnfolded = async (page, where) => {
  await page.evaluate(() => document.querySelectorAll("details").forEach((details) => { details.open = true; }));
  await accessible(page, where, faults);
  await page.evaluate(() => document.querySelectorAll("details").forEach((details) => { details.open = false; }));
};

(async () => {
  fs.mkdirSync(pictures, { recursive: true });
  const size = fs.statSync(page_file).size;
  check(size <= 6e6, `the page has ${size} bytes`);
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
  await policy(browser);
  await address(browser);
  let slowest = 0;
  for (const width of WIDTHS) {
    for (const scheme of SCHEMES) {
      const { context, page } = await open(browser, width, scheme);
      const folded = await page.locator("details.example[open]").count();
      check(folded === 0, `${folded} examples are not folded`);
      slowest = Math.max(slowest, Number(await page.evaluate(() => document.documentElement.dataset.ready)));
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      check(wide <= 0, `at ${width} px the page is ${wide} px too wide`);
      const first = await page.locator(".headline").first().boundingBox();
      check(first !== null && first.y < 300, "acceptance is not what a reader sees first");
      await use(page);
      await accessibleUnfolded(page, `${width} px, ${scheme}`);
      const name = path.join(pictures, `${width}-${scheme}`);
      await page.evaluate(() => scrollTo(0, 0));
      await page.screenshot({ path: `${name}-first.png` });
      await page.screenshot({ path: `${name}.png`, fullPage: true });
      if (width === WIDTHS[0] && scheme === "light") {
        await page.pdf({ path: `${name}.pdf`, printBackground: true });
      }
      await context.close();
    }
  }
  await browser.close();
  check(slowest <= 1000, `the page is ready after ${slowest} ms`);
  console.log(`page: ${(size / 1e6).toFixed(2)} MB, ready after ${slowest} ms at most; pictures in ${pictures}`);
  for (const fault of new Set(faults)) console.error(`wrong: ${fault}`);
  process.exit(faults.length === 0 ? 0 : 1);
})().catch((error) => { console.error(error); process.exit(1); });
