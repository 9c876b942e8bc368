// Drives Chromium over the coordinator's live page during a run; ends with 1 where something is wrong. Called by scripts/browser.
"use strict";
const { spawn, execFileSync } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");
const readline = require("node:readline");
const { chromium } = require("playwright-core");
const { accessible } = require("./browser-axe.cjs");

const [bin, folder, pictures] = process.argv.slice(2).map((name) => path.resolve(name));
const faults = [];
const check = (holds, what) => { if (!holds) faults.push(what); };
const started = [];

// A program, once it has said what `sign` finds on stderr; gives what that found.
const start = (name, args, sign) => new Promise((resolve, reject) => {
  const child = spawn(path.join(bin, name), args, { stdio: ["ignore", "ignore", "pipe"] });
  started.push(child);
  const said = [];
  readline.createInterface({ input: child.stderr }).on("line", (line) => {
    said.push(line);
    const found = sign.map((each) => said.map((text) => text.match(each)).find(Boolean));
    if (found.every(Boolean)) resolve(found.map((each) => each[1]));
  });
  child.on("exit", (code) => reject(new Error(`${name} ended with ${code}: ${said.join("\n")}`)));
});

const coordinator = (...args) => execFileSync(path.join(bin, "coordinator"), args, { stdio: ["ignore", "pipe", "ignore"] });

// A page with the token of a viewer, as the link that the coordinator prints gives a browser a cookie.
const open = async (browser, served, place, options = {}) => {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  await context.route("**/*", (route) => {
    const headers = route.request().headers();
    if (!route.request().url().startsWith(served.page)) faults.push(`asked elsewhere: ${route.request().url()}`);
    return route.continue({ headers: { authorization: `Bearer ${served.viewer}`, ...headers } });
  });
  const page = await context.newPage();
  page.on("pageerror", (error) => faults.push(`script: ${error.message}`));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) faults.push(`console: ${message.text()}`);
  });
  await page.goto(served.page + place);
  await page.waitForFunction(() => Number(document.documentElement.dataset.events) > 0);
  return { context, page };
};

const events = (page) => page.evaluate(() => Number(document.documentElement.dataset.events));
const later = async (page, count) => {
  const before = await events(page);
  await page.waitForFunction((wanted) => Number(document.documentElement.dataset.events) >= wanted, before + count);
};

// What changes is put in place: no reload, and the focus stays where it was.
const lives = async (browser, served) => {
  const { context, page } = await open(browser, served, "/");
  check((await page.locator("#runs").textContent()).includes("No runs yet"), "an empty coordinator shows runs");
  await page.evaluate(() => { window.mark = true; });
  served.submit("asks", "--config", served.config);
  await page.getByRole("link", { name: "asks" }).waitFor();
  const bar = page.locator("#runs progress").first();
  const before = Number(await bar.getAttribute("value"));
  await start("worker", ["serve", "--coordinator", served.url, "--config", served.config, "--slots", "2"], [/serves? (\S+)/]);
  await page.waitForFunction((known) => Number(document.querySelector("#runs progress").value) > known, before, { timeout: 60_000 });
  const link = page.getByRole("link", { name: "asks" });
  await link.focus();
  await later(page, 3);
  check(await page.evaluate(() => document.activeElement.dataset.key) === "run-asks", "an update takes the focus away");
  check(await page.evaluate(() => window.mark === true), "the page was loaded anew");
  check((await page.locator("#workers").textContent()).includes("working"), "no worker is shown at work");
  check(await page.locator("#limits svg[role=img]").count() >= 3, "the limiter has no charts");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/runs/asks");
  check(await page.getByRole("heading", { name: "Run asks" }).count() === 1, "there is no page of the run");
  await context.close();
};

const looks = async (browser, served) => {
  for (const width of [1280, 400]) {
    for (const colorScheme of ["light", "dark"]) {
      for (const [name, place] of [["overview", "/"], ["run", "/runs/asks"]]) {
        const options = { viewport: { width, height: 900 }, colorScheme, bypassCSP: true };
        const { context, page } = await open(browser, served, place, options);
        const where = `live ${name}, ${width} px, ${colorScheme}`;
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        check(wide <= 0, `${where}: ${wide} px too wide`);
        await accessible(page, where, faults);
        await page.screenshot({ path: path.join(pictures, `live-${name}-${width}-${colorScheme}.png`), fullPage: true });
        await context.close();
      }
    }
  }
};

// With the keyboard alone: the first stop skips to the content, and an operator cancels the run by two presses.
const operates = async (browser, served) => {
  const { context, page } = await open(browser, served, "/");
  await page.keyboard.press("Tab");
  check((await page.evaluate(() => document.activeElement.className)) === "skip", "the first stop is not the skip link");
  const cancel = page.locator("#runs button[data-action='/runs/asks/cancel']");
  check(!(await cancel.isVisible()), "a viewer has a button that cancels");
  await page.getByText("Cancel runs and drain workers").focus();
  await page.keyboard.press("Enter");
  await page.getByLabel("Token of an operator").focus();
  await page.keyboard.type(served.operator);
  await page.keyboard.press("Enter");
  await cancel.focus();
  await page.keyboard.press("Enter");
  await later(page, 2);
  check((await page.locator("#runs").textContent()).includes("press again"), "one press is enough to cancel");
  await cancel.focus();
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelector("#runs .state.cancelled") !== null);
  check((await page.locator("#answer").textContent()).includes("is cancelled"), "nothing says that it was cancelled");
  await context.close();
};

// With the page's policy in force nobody else's script runs.
const policy = async (browser, served) => {
  const { context, page } = await open(browser, served, "/");
  const known = faults.length;
  await page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "window.stranger = true";
    document.body.append(script);
    document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.stranger = true'>");
  });
  await page.waitForTimeout(300);
  // What the browser says of the refusals is what is wanted.
  faults.splice(known);
  check(!(await page.evaluate(() => window.stranger === true)), "a script that is not ours ran");
  await context.close();
};

(async () => {
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder, { recursive: true });
  fs.mkdirSync(pictures, { recursive: true });
  const corpus = path.join(folder, "corpus");
  coordinator("synth", "--records", "2000", "--seed", "7", "--out", corpus);
  const detections = path.join(corpus, "detections.json.gz");
  const mock = path.resolve("configs/mock.yaml");
  const [provider] = await start("worker", ["mock-llm", "--listen", "127.0.0.1:0", "--rpm", "240", "--corpus", detections, "--config", mock], [/(http:\/\/[0-9.:]+\/v1\/chat\/completions)/]);
  const config = path.join(folder, "mock.yaml");
  fs.writeFileSync(config, fs.readFileSync(mock, "utf8").replace(/endpoint: .*/, `endpoint: ${provider}`));
  const state = path.join(folder, "state");
  const [url, page] = await start("coordinator", ["serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--state", state], [/serving (http:[^ ,]+)/, /status page on (http:[^ ]+)/]);
  const token = (role) => fs.readFileSync(path.join(state, "access", `${role}.token`), "utf8").split(/\s+/)[1];
  const submit = (run, ...more) =>
    coordinator("submit", "--to", url, "--corpus", detections, "--run-id", run, "--shard-size", "20", "--max-cost", "5", ...more);
  const served = { url, page, config, submit, viewer: token("viewer"), operator: token("operator") };

  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
  await lives(browser, served);
  await looks(browser, served);
  await policy(browser, served);
  await operates(browser, served);
  await browser.close();
  console.log(`live page: pictures in ${pictures}`);
  for (const fault of new Set(faults)) console.error(`wrong: ${fault}`);
  end(faults.length === 0 ? 0 : 1);
})().catch((error) => { console.error(error); end(1); });

function end(code) {
  for (const child of started) {
    child.removeAllListeners("exit");
    child.kill("SIGKILL");
  }
  process.exit(code);
}
