// Puts the parts of the page in place as they arrive, and sends what an operator presses. Loads nothing.
"use strict";
(() => {
  const link = document.getElementById("link");
  const answer = document.getElementById("answer");
  const shown = new Map();
  let token = "";
  let armed = "";

  // Buttons are for who has given a token; the second press of one counts.
  const equip = (root) => {
    for (const button of root.querySelectorAll("button[data-action]")) {
      button.hidden = token === "";
      const isArmed = button.dataset.action === armed;
      button.classList.toggle("armed", isArmed);
      if (isArmed) button.append(" – press again");
    }
  };

  // The part that has the focus keeps it: what is replaced is found again by its key.
  const place = (id, html) => {
    const part = document.getElementById(id);
    if (!part || shown.get(id) === html) return;
    shown.set(id, html);
    const key = part.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
    part.innerHTML = html;
    equip(part);
    if (key !== undefined) {
      for (const element of part.querySelectorAll("[data-key]")) {
        if (element.dataset.key === key) element.focus({ preventScroll: true });
      }
    }
  };

  const say = (text, isTrouble) => {
    if (link.textContent !== text) link.textContent = text;
    link.classList.toggle("trouble", isTrouble);
  };

  const follow = () => {
    const events = new EventSource(document.body.dataset.events);
    events.onmessage = (event) => {
      const message = JSON.parse(event.data);
      if (message.trouble) {
        say(message.trouble, true);
        return;
      }
      for (const [id, html] of Object.entries(message.sections)) place(id, html);
      say("live", false);
      document.documentElement.dataset.events = String(1 + Number(document.documentElement.dataset.events || 0));
    };
    events.onerror = () => {
      say("not connected; trying again", true);
      // A refusal ends a source for good.
      if (events.readyState === EventSource.CLOSED) setTimeout(follow, 5000);
    };
  };

  const press = async (button) => {
    const action = button.dataset.action;
    if (armed !== action) {
      armed = action;
      shown.clear();
      for (const other of document.querySelectorAll("button.armed")) {
        other.classList.remove("armed");
        other.lastChild.remove();
      }
      equip(button.parentElement);
      return;
    }
    armed = "";
    button.disabled = true;
    try {
      const reply = await fetch(action, { method: "POST", headers: { Authorization: `Bearer ${token}` } });
      answer.textContent = await reply.text();
      answer.classList.toggle("trouble", !reply.ok);
    } catch {
      answer.textContent = "the coordinator cannot be reached";
      answer.classList.add("trouble");
    }
    shown.clear();
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-action]");
    if (button) press(button);
  });

  document.getElementById("operator").addEventListener("submit", (event) => {
    event.preventDefault();
    token = document.getElementById("token").value.trim();
    document.getElementById("token").value = "";
    answer.textContent = token === "" ? "no token is in use" : "runs and workers have buttons now";
    answer.classList.remove("trouble");
    equip(document);
  });

  follow();
})();
