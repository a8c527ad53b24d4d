// Comforts for who has scripts; every page works without.
"use strict";
(() => {
  const root = document.documentElement;
  const main = document.getElementById("main");
  const say = (text, parent, ...classes) => {
    const element = document.createElement("p");
    element.textContent = text;
    element.className = classes.join(" ");
    parent.append(element);
    return element;
  };

  // One line for screen readers that tells what a key or the live stream did.
  const told = document.createElement("div");
  told.className = "visually-hidden";
  told.setAttribute("role", "status");
  told.setAttribute("aria-live", "polite");
  main?.append(told);
  const tell = (text) => { told.textContent = text; };

  /* Keys ------------------------------------------------------------------------------------------------------------ */

  const KEYS = [
    ["/", "Search"],
    ["j", "Next message"],
    ["k", "Previous message"],
    ["n", "Next hit"],
    ["p", "Previous hit"],
    ["y", "Copy the link to this message"],
    ["?", "This help"],
  ];
  let help;
  function openHelp() {
    if (!help) {
      help = document.createElement("dialog");
      help.className = "help";
      help.setAttribute("aria-labelledby", "help-title");
      const title = document.createElement("h2");
      title.id = "help-title";
      title.textContent = "Keys";
      const list = document.createElement("dl");
      for (const [key, what] of KEYS) {
        const dt = document.createElement("dt");
        const kbd = document.createElement("kbd");
        kbd.textContent = key;
        dt.append(kbd);
        const dd = document.createElement("dd");
        dd.textContent = what;
        list.append(dt, dd);
      }
      const form = document.createElement("form");
      form.method = "dialog";
      const close = document.createElement("button");
      close.textContent = "Close";
      form.append(close);
      help.append(title, list, form);
      document.body.append(help);
    }
    help.showModal();
  }

  // Messages of a transcript, or hits of a search.
  const stops = () => [...document.querySelectorAll(".msg, .gap, .result-title > a")];
  function step(by) {
    const all = stops();
    if (all.length === 0) return;
    const here = document.activeElement?.closest(".msg, .gap, .result-title > a");
    let at = all.indexOf(here);
    if (at < 0) {
      // From what is in sight.
      const first = all.findIndex((element) => element.getBoundingClientRect().bottom > 0);
      at = by > 0 ? first - 1 : first;
    }
    const next = all[Math.min(Math.max(at + by, 0), all.length - 1)];
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.defaultPrevented) return;
    if (event.target.closest?.("input, textarea, select, dialog, [contenteditable]")) return;
    const follow = (key) => document.querySelector(`a[data-key="${key}"]`)?.click();
    const actions = {
      "/": () => document.querySelector("#q, #find")?.focus(),
      "?": openHelp,
      j: () => step(1),
      k: () => step(-1),
      n: () => follow("n"),
      p: () => follow("p"),
      y: () => copy(document.activeElement?.closest(".msg, .line, .gap")),
    };
    const action = Object.hasOwn(actions, event.key) ? actions[event.key] : undefined;
    if (!action) return;
    event.preventDefault();
    action();
  });

  /* Links to copy --------------------------------------------------------------------------------------------------- */

  async function copy(block) {
    const href = block?.querySelector(":scope > .when, p > a")?.href;
    if (!href) return;
    try {
      await navigator.clipboard.writeText(href);
      tell("Link copied");
    } catch {
      // Without the right to the clipboard the link is followed: it then stands in the address bar.
      location.assign(href);
    }
  }

  // One button follows focus and pointer, so that a page of 150 messages does not need 150 of them.
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy link";
  button.tabIndex = -1;
  button.addEventListener("click", async () => {
    await copy(button.closest(".msg, .line"));
    button.textContent = told.textContent || "Copy link";
    setTimeout(() => { button.textContent = "Copy link"; }, 1500);
  });
  const offer = (event) => {
    const block = event.target.closest?.(".msg");
    if (block && button.parentElement !== block.querySelector(".seq-place")) block.querySelector(".seq-place")?.append(button);
  };
  document.addEventListener("pointerover", offer);
  document.addEventListener("focusin", offer);

  /* Where a link leads --------------------------------------------------------------------------------------------- */

  function arrive() {
    const target = /^#e\d+$/.test(location.hash) && document.getElementById(location.hash.slice(1));
    if (!target) {
      // The event stands on another page of this transcript.
      if (/^#e\d+$/.test(location.hash) && document.getElementById("days")) location.replace(`/e/${location.hash.slice(2)}`);
      return;
    }
    for (let outer = target.closest("details"); outer; outer = outer.parentElement.closest("details")) outer.open = true;
    target.closest(".msg, .line, .gap")?.focus({ preventScroll: true });
    target.scrollIntoView({ block: "center" });
  }
  if (!new URLSearchParams(location.search).has("at") || document.getElementById(location.hash.slice(1))) arrive();
  addEventListener("hashchange", arrive);

  /* What is said while somebody reads ------------------------------------------------------------------------------ */

  const days = document.getElementById("days");
  const parse = (html) => {
    const template = document.createElement("template");
    // Made by our own templates, which escape; scripts in it would not run in any case.
    template.innerHTML = html;
    return template.content;
  };

  function atEnd() {
    return innerHeight + scrollY >= document.body.scrollHeight - 160;
  }

  let waiting = 0;
  let fresh;
  function note() {
    waiting += 1;
    if (!fresh) {
      fresh = document.createElement("button");
      fresh.type = "button";
      fresh.className = "fresh primary no-print";
      fresh.addEventListener("click", () => {
        days.lastElementChild?.lastElementChild?.scrollIntoView({ block: "end" });
        fresh.remove();
        fresh = undefined;
        waiting = 0;
      });
      main.append(fresh);
    }
    fresh.textContent = waiting === 1 ? "1 new below" : `${waiting} new below`;
  }
  addEventListener("scroll", () => {
    if (fresh && atEnd()) { fresh.remove(); fresh = undefined; waiting = 0; }
  }, { passive: true });

  // What is read out of something that arrived: who and when, and the words.
  function spoken(block) {
    const who = block?.matches(".msg") ? `${block.getAttribute("aria-label")}: ` : "";
    return who + (block?.querySelector(".said, p")?.textContent.slice(0, 200) ?? "");
  }

  async function refresh(article) {
    const url = new URL(days.dataset.live, location.href);
    url.pathname = url.pathname.replace(/live$/, "part");
    url.searchParams.set("seq", article.id.slice(1));
    const answer = await fetch(url);
    const now = answer.ok && parse(await answer.text()).querySelector(".msg");
    if (now) {
      const had = article.contains(document.activeElement);
      // What the reader has opened stays open.
      const opened = new Set([...article.querySelectorAll("details[open]")].map((one) => one.className));
      for (const one of now.querySelectorAll("details")) one.open ||= opened.has(one.className);
      article.replaceWith(now);
      now.classList.add("arrived");
      if (spoken(now) !== spoken(article) || now.classList.contains("is-deleted")) tell(`Changed: ${spoken(now)}`);
      if (had) now.focus({ preventScroll: true });
    }
  }

  function append(told) {
    if (document.getElementById(`e${told.seq}`)) return;
    const changed = told.about && [...days.querySelectorAll(".msg")].find((one) => one.dataset.message === told.about);
    if (changed) {
      refresh(changed);
      return;
    }
    const section = parse(told.html).querySelector(".tday");
    if (!section) return;
    const end = atEnd();
    days.querySelector(".empty")?.remove();
    const last = days.querySelector(".tday:last-of-type");
    const block = section.querySelector(":scope > :not(.tday-name)");
    if (last?.dataset.day === told.day) {
      const group = last.lastElementChild;
      const same = (a, b) => a?.querySelector(".who")?.textContent === b?.querySelector(".who")?.textContent;
      if (block.matches(".group") && group?.matches(".group") && same(group, block)) {
        group.append(...block.querySelectorAll(".msg"));
      } else {
        last.append(block);
      }
    } else {
      days.append(section);
    }
    const arrived = document.getElementById(`e${told.seq}`);
    arrived?.classList.add("arrived");
    tell(spoken(arrived));
    // The reader's place is never moved; who was at the end is told that there is more below it.
    if (!end || !atEnd()) note();
  }

  function listen(address, on) {
    let source;
    let last;
    const open = () => {
      if (source) return;
      const url = new URL(address, location.href);
      if (last) url.searchParams.set("after", last);
      source = new EventSource(url);
      source.addEventListener("open", () => { root.dataset.live = "on"; });
      source.addEventListener("error", () => {
        root.dataset.live = "off";
        if (source?.readyState === EventSource.CLOSED) source = undefined;
      });
      for (const [name, act] of Object.entries(on)) {
        source.addEventListener(name, (event) => {
          last = event.lastEventId || last;
          act(JSON.parse(event.data));
        });
      }
    };
    const close = () => { source?.close(); source = undefined; };
    // A browser allows few connections: pages that nobody looks at give theirs back.
    document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
    addEventListener("pagehide", close);
    addEventListener("pageshow", () => { if (!document.hidden) open(); });
    if (!document.hidden) open();
  }

  if (days?.dataset.live) {
    const words = document.querySelector("[data-live-words]");
    if (words) words.textContent = words.dataset.liveWords;
    listen(days.dataset.live, { said: append, behind: () => location.reload() });
  }

  const list = document.querySelector("[data-live-list]");
  if (list) {
    let shown;
    listen(list.dataset.liveList, {
      happened: () => {
        if (shown) return;
        shown = say("", list, "callout");
        const link = document.createElement("a");
        link.href = location.href;
        link.textContent = "Something new was recorded: look again";
        shown.append(link);
        list.prepend(shown);
      },
      behind: () => {},
    });
  }
})();
