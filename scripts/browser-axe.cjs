// What axe-core finds in a page: serious and critical violations become faults, the others are printed.
"use strict";
const fs = require("node:fs");

const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

exports.accessible = async (page, where, faults) => {
  await page.evaluate(axe);
  const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  for (const violation of found.violations) {
    const node = violation.nodes[0];
    const line = `${violation.impact}: ${violation.id}: ${violation.help} (${violation.nodes.length}× e.g. ${node.target})`;
    if (["serious", "critical"].includes(violation.impact)) faults.push(`axe, ${where}: ${line}`);
    else console.log(`axe, ${where}, ${line}`);
  }
};
