"use strict";
// A page of many attempts: list, search, filters, order; one attempt, or two models' side by side.
// `index`, `attempts` and `messages` are called by the data files. HTML is set from `attempts` files only, which
// come from escaped templates; everything else becomes text.
var pixelreasoner = (() => {
  const ROWS = 100, KEPT = 40;
  const folder = new URL(".", document.currentScript.src).href;
  const $ = (id) => document.getElementById(id);
  const ANY = { left: "0", right: "", verdict: "", marks: "", template: "", rejected: "", kind: "", need: "", operation: "", stop: "", sort: "", q: "" };
  const ALL = "all";
  const state = { ...ANY };
  const chunks = new Map(), messages = new Map(), loading = new Map();
  let data, entries = [], found = [], page = 0, current = -1, opened = 0, asked = 0;

  // ------------------------------------------------------------------------------------------- data

  function load(name) {
    if (!loading.has(name)) loading.set(name, new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = folder + name;
      script.onload = () => { script.remove(); resolve(); };
      script.onerror = () => { script.remove(); loading.delete(name); reject(new Error(name)); };
      document.head.append(script);
    }));
    return loading.get(name);
  }

  async function html(model, attempt) {
    const number = Math.floor(attempt / data.chunk), name = `attempts-${model}-${number}.js`;
    if (!chunks.has(name)) await load(name);
    const chunk = chunks.get(name);
    chunks.delete(name);
    chunks.set(name, chunk);
    for (const old of chunks.keys()) {
      if (chunks.size <= KEPT) break;
      chunks.delete(old);
      loading.delete(old);
    }
    return chunk[attempt % data.chunk];
  }

  function index(values) {
    data = values;
    entries = data.tasks.map(() => data.models.map(() => -1));
    data.models.forEach((model, m) => model.attempts.forEach((a, i) => { entries[a[0]][m] = i; }));
    ANY.right = data.models.length > 2 && data.all ? ALL : data.models.length > 1 ? "1" : "";
    ANY.sort = data.sort || "";
    fillFields();
    readAddress();
    $("static").remove();
    $("gallery").hidden = false;
    if (matchMedia("(min-width: 900px)").matches) $("filters").open = true;
    refresh();
  }

  const attemptOf = (entry, model) => model === "" ? undefined : data.models[model].attempts[entries[entry][model]];
  const others = () => data.models.map((_, m) => String(m)).filter((m) => m !== state.left);
  const shownModels = () => [state.left, ...state.right === ALL ? others() : [state.right].filter((m) => m && m !== state.left)];
  const isRight = (attempt) => attempt && attempt[1] !== null ? attempt[1] > 0.5 : null;

  // ---------------------------------------------------------------------------------------- choosing

  const VERDICTS = {
    wrong: ([a]) => a === false, right: ([a]) => a === true,
    gained: ([a, b]) => a === true && b === false, lost: ([a, b]) => a === false && b === true,
    both: ([a, b]) => a === false && b === false,
    none: (all) => all.every((a) => a === false), every: (all) => all.every((a) => a === true),
    differ: (all) => all.includes(true) && all.includes(false),
  };

  // A letter per model: r for right, w for wrong, - for either.
  const fits = (entry) => [...state.marks].every((letter, m) => letter === "-" || isRight(attemptOf(entry, m)) === (letter === "r"));

  function matches(entry, words) {
    const [id, question, kind, need, reference] = data.tasks[entry];
    if (state.kind && kind !== state.kind || state.need && String(need) !== state.need) return false;
    if (state.marks && !fits(entry)) return false;
    const tries = shownModels().map((m) => attemptOf(entry, m));
    if (state.verdict && !VERDICTS[state.verdict](tries.map(isRight))) return false;
    if (state.template && !tries.some((a) => a && a[6] === state.template)) return false;
    if (state.rejected && !tries.some((a) => a && (state.rejected === "-" ? !a[7] : a[7] === state.rejected))) return false;
    if (state.stop && !tries.some((a) => a && a[2] === state.stop)) return false;
    if (state.operation && !tries.some((a) => a && (state.operation === "-" ? !a[3].length : a[3].includes(state.operation)))) return false;
    if (!words.length) return true;
    const texts = [id, question, reference, ...tries.map((a) => a && a[4] || "")];
    for (const m of shownModels()) texts.push(messages.get(m)?.[entries[entry][m]] || "");
    const text = texts.join("\n").toLowerCase();
    return words.every((word) => text.includes(word));
  }

  function sorted(list) {
    const [name, direction] = state.sort.split("|");
    if (!name) return list;
    const place = data.models[state.left].numbers.indexOf(name), sign = direction === "down" ? -1 : 1;
    const value = name === "wrong" ? (entry) => -shownModels().filter((m) => isRight(attemptOf(entry, m)) === false).length
      : (entry) => attemptOf(entry, state.left)?.[5][place] ?? null;
    const keyed = list.map((entry) => [value(entry), entry]);
    keyed.sort(([a, i], [b, j]) => a === b ? i - j : a === null ? 1 : b === null ? -1 : sign * (a - b));
    return keyed.map(([, entry]) => entry);
  }

  async function refresh() {
    const mine = ++asked, words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    const missing = words.length ? shownModels().filter((m) => !messages.has(m)) : [];
    let failed = "";
    if (missing.length) {
      $("count").textContent = "Reading the messages …";
      await Promise.all(missing.map((m) => load(`messages-${m}.js`))).catch(() => { failed = "; the messages could not be read"; });
      if (mine !== asked) return;
    }
    found = sorted(entries.map((_, i) => i).filter((i) => shownModels().some((m) => entries[i][m] >= 0) && matches(i, words)));
    if (!found.includes(current)) current = found.length ? found[0] : -1;
    page = Math.max(0, Math.floor(found.indexOf(current) / ROWS));
    showList();
    $("count").append(failed);
    await showAttempt();
  }

  // ------------------------------------------------------------------------------------------- fields

  const words = (text) => String(text).replaceAll("_", " ");

  function options(select, pairs) {
    $(select).replaceChildren(...pairs.map(([value, text]) => new Option(text, value)));
    $(select).closest("label").hidden = pairs.length < (select === "left" ? 2 : 3) && select !== "right";
  }

  function counted(values) {
    const counts = new Map();
    for (const value of values) counts.set(value, (counts.get(value) || 0) + 1);
    return [...counts].sort(([a], [b]) => a < b ? -1 : 1).map(([value, n]) => [value, `${words(value)} (${n})`]);
  }

  function fillFields() {
    const attempts = data.models.flatMap((m) => m.attempts);
    const models = data.models.map((m, i) => [String(i), m.name]);
    options("left", models);
    options("right", [["", "nothing"], ...models, ...models.length > 2 ? [[ALL, "all others"]] : []]);
    fillMarks();
    $("right").closest("label").hidden = models.length < 2;
    options("kind", [["", "all"], ...counted(data.tasks.map((t) => t[2]).filter(Boolean))]);
    options("template", [["", "all"], ...counted(attempts.map((a) => a[6]).filter(Boolean))]);
    options("rejected", attempts.some((a) => a[7]) ? [["", "all"], ["-", "kept"], ...counted(attempts.map((a) => a[7]).filter(Boolean))] : []);
    options("need", [["", "all"], ["1", "needs an operation"], ["0", "the full image is enough"]]
      .filter(([v]) => !v || data.tasks.some((t) => String(t[3]) === v)));
    options("operation", [["", "all"], ["-", "none used"], ...counted(attempts.flatMap((a) => a[3]))]);
    options("stop", [["", "all"], ...counted(attempts.map((a) => a[2]))]);
    for (const id of ["left", "right", "verdict", "template", "rejected", "kind", "need", "operation", "stop", "sort"]) {
      $(id).onchange = () => change({ [id]: $(id).value });
    }
    let typing;
    $("search").oninput = () => { clearTimeout(typing); typing = setTimeout(() => change({ q: $("search").value }), 150); };
    $("controls").onsubmit = (event) => event.preventDefault();
    $("clear").onclick = () => { $("search").value = ""; change({ verdict: "", marks: "", template: "", rejected: "", kind: "", need: "", operation: "", stop: "", sort: ANY.sort, q: "" }); };
  }

  // Right or wrong of each model, where there are more than the two that "Answer" speaks of.
  function fillMarks() {
    if (data.models.length < 3) return;
    $("clear").before(...data.models.map((model, m) => {
      const label = element("label", "", `${model.name} `), select = element("select");
      select.replaceChildren(...[["-", "right or wrong"], ["r", "right"], ["w", "wrong"]].map(([value, text]) => new Option(text, value)));
      select.dataset.model = m;
      select.onchange = () => {
        const letters = [...state.marks.padEnd(data.models.length, "-")];
        letters[m] = select.value;
        change({ marks: letters.every((letter) => letter === "-") ? "" : letters.join("") });
      };
      label.append(select);
      return label;
    }));
  }

  function fillChanging() {
    const names = shownModels().map((m) => data.models[m].name);
    const pairs = [["", "all"], ["wrong", "wrong"], ["right", "right"]];
    if (names.length > 1) {
      pairs[1][1] = `${names[0]}: wrong`;
      pairs[2][1] = `${names[0]}: right`;
      if (names.length === 2) pairs.push(["gained", `right, ${names[1]} wrong`], ["lost", `wrong, ${names[1]} right`], ["both", "both wrong"]);
      else pairs.push(["none", "all wrong"], ["every", "all right"]);
      pairs.push(["differ", "one right, another wrong"]);
    }
    if (!pairs.some(([v]) => v === state.verdict)) state.verdict = "";
    options("verdict", data.models.some((m) => m.attempts.some((a) => a[1] !== null)) ? pairs : []);
    const numbers = data.models[state.left].numbers;
    if (!["wrong", ...numbers].includes(state.sort.split("|")[0])) state.sort = "";
    options("sort", [["", "as recorded"], ["wrong|up", "wrong answers first"], ...numbers.flatMap((n) => [[`${n}|up`, `${n}, lowest first`], [`${n}|down`, `${n}, highest first`]])]);
    for (const id of Object.keys(ANY)) if (id !== "q" && id !== "marks") $(id).value = state[id];
    for (const select of document.querySelectorAll("select[data-model]")) select.value = state.marks[select.dataset.model] || "-";
    if (document.activeElement !== $("search")) $("search").value = state.q;
    const active = ["verdict", "marks", "template", "rejected", "kind", "need", "operation", "stop", "sort"].filter((id) => state[id] !== ANY[id]).length;
    $("active").textContent = active ? `(${active} set)` : "";
  }

  function change(values) {
    Object.assign(state, values);
    if (!("left" in values || "right" in values)) current = -1;  // what was asked for begins at its first
    fillChanging();
    refresh();
  }

  function readAddress() {
    const given = new URLSearchParams(location.hash.slice(1));
    for (const id of Object.keys(ANY)) state[id] = given.get(id) ?? ANY[id];
    if (!data.models[state.left]) state.left = "0";
    if (!data.models[state.right] && !(state.right === ALL && data.models.length > 2)) state.right = "";
    if (state.marks.length !== data.models.length || /[^rw-]/.test(state.marks)) state.marks = "";
    if (!VERDICTS[state.verdict]) state.verdict = "";
    const task = given.get("task");
    current = task === null ? -1 : data.tasks.findIndex((t) => t[0] === task);
    if (given.has("at")) current = Number(given.get("at"));
    document.body.classList.toggle("reading", current >= 0);
    fillChanging();
  }

  function writeAddress() {
    const values = new URLSearchParams(Object.entries(state).filter(([id, value]) => value !== ANY[id]));
    if (current >= 0) values.set("at", current);
    history.replaceState(null, "", `#${values}`);
  }

  // ------------------------------------------------------------------------------------------ showing

  function element(tag, className, text) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function mark(attempt) {
    const right = isRight(attempt), made = element("span", `verdict ${right === null ? "soft" : right ? "good" : "bad"}`);
    made.textContent = right === null ? "–" : right ? "✓" : "✗";
    made.setAttribute("aria-label", right === null ? "no score" : right ? "right" : "wrong");
    made.setAttribute("role", "img");
    return made;
  }

  function row(entry) {
    const item = element("li"), link = element("a"), task = data.tasks[entry];
    const marks = element("span", "marks"), tries = shownModels().map((m) => attemptOf(entry, m));
    marks.append(...tries.map(mark));
    const sort = state.sort.split("|")[0], place = data.models[state.left].numbers.indexOf(sort);
    const facts = [tries[0]?.[7] && `turned down (${tries[0][7].split(":")[0]})`,
      task[2] && words(task[2]), tries[0] && words(tries[0][6]), tries.map((a) => a ? a[4] ?? "no answer" : "not tried").join(" / "),
      place >= 0 && tries[0] && `${sort} ${Number((tries[0][5][place] ?? NaN).toPrecision(4))}`];
    link.href = `#at=${entry}`;
    link.append(marks, element("span", "text", task[1]), element("span", "facts", facts.filter(Boolean).join(" · ")));
    link.onclick = (event) => { event.preventDefault(); open(entry, true); };
    link.tabIndex = -1;  // one stop for Tab; the arrows go on within the list
    item.append(link);
    return item;
  }

  function showList() {
    const start = page * ROWS, shown = found.slice(start, start + ROWS);
    $("rows").start = start + 1;
    $("rows").replaceChildren(...shown.map(row));
    const range = found.length > ROWS ? `, ${start + 1} to ${start + shown.length} listed` : "";
    $("count").textContent = `${found.length.toLocaleString("en")} of ${entries.length.toLocaleString("en")} tasks${range}`;
    $("back-page").disabled = page === 0;
    $("next-page").disabled = start + ROWS >= found.length;
  }

  function markCurrent(place) {
    for (const link of $("rows").querySelectorAll("[aria-current]")) {
      link.removeAttribute("aria-current");
      link.tabIndex = -1;
    }
    const link = $("rows").children[place - page * ROWS]?.firstChild || $("rows").querySelector("a");
    if (!link) return;
    if (place >= page * ROWS && place < (page + 1) * ROWS) link.setAttribute("aria-current", "true");
    link.tabIndex = 0;
  }

  function showError(error) {
    $("columns").replaceChildren(element("p", "bad", `${error.message} could not be read: keep the folder ${decodeURIComponent(folder.split("/").at(-2))} beside this page.`));
  }

  async function showAttempt() {
    const mine = ++opened, place = found.indexOf(current);
    $("detail").hidden = current < 0;
    writeAddress();
    if (current < 0) return;
    const [id, question, kind] = data.tasks[current];
    $("question").textContent = question;
    $("task").textContent = [kind && words(kind), id].filter(Boolean).join(" · ");
    $("position").textContent = `${(place + 1).toLocaleString("en")} of ${found.length.toLocaleString("en")}`;
    $("previous").disabled = place <= 0;
    $("next").disabled = place + 1 >= found.length;
    markCurrent(place);
    const models = shownModels();
    let bodies;
    try {
      bodies = await Promise.all(models.map((m) => entries[current][m] < 0 ? "" : html(m, entries[current][m])));
    } catch (error) {
      return mine === opened ? showError(error) : undefined;
    }
    if (mine !== opened) return;
    $("columns").className = models.length > 1 ? "two" : "";
    $("answers").replaceChildren(...answers(models));
    $("columns").replaceChildren(...models.map((m, i) => {
      const column = element("article", "card");
      column.append(element("h3", "", data.models[m].name));
      const body = element("div");
      body.innerHTML = bodies[i] || "<p class=\"soft\">This model has not tried the task.</p>";
      column.append(body);
      return column;
    }));
  }

  // What each model answered at the task in view, where more than two are shown.
  function answers(models) {
    if (models.length < 3) return [];
    return models.map((m) => {
      const attempt = attemptOf(current, m), line = element("li");
      line.append(mark(attempt), element("b", "", data.models[m].name), element("span", "", attempt ? attempt[4] ?? "no answer" : "not tried"));
      return line;
    });
  }

  function open(entry, byHand) {
    current = entry;
    document.body.classList.add("reading");
    showAttempt();
    if (byHand) $("question").focus({ preventScroll: true });
    if (matchMedia("(max-width: 899px)").matches) scrollTo(0, 0);
    else $("detail").scrollIntoView({ block: "nearest" });
  }

  function step(by) {
    const place = found.indexOf(current) + by;
    if (place < 0 || place >= found.length) return;
    const there = Math.floor(place / ROWS);
    if (there !== page) { page = there; showList(); }
    open(found[place], false);
    $("rows").children[place - page * ROWS].scrollIntoView({ block: "nearest" });
  }

  function toList() {
    document.body.classList.remove("reading");
    $("rows").querySelector("[aria-current]")?.focus();
  }

  function turnPage(by) {
    page += by;
    showList();
    markCurrent(found.indexOf(current));
    $("list").scrollTop = 0;
    $("rows").querySelector("a")?.focus();
  }

  $("previous").onclick = () => step(-1);
  $("next").onclick = () => step(1);
  $("back-page").onclick = () => turnPage(-1);
  $("next-page").onclick = () => turnPage(1);
  $("to-list").onclick = toList;
  addEventListener("hashchange", () => { if (data) { readAddress(); refresh(); } });
  addEventListener("keydown", (event) => {
    if (!data || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") return document.activeElement === $("search") ? $("search").blur() : toList();
    if (/^(input|select|textarea)$/i.test(event.target.tagName)) return;
    const row = event.target.closest?.("#rows li");
    if (row && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      (event.key === "ArrowDown" ? row.nextElementSibling : row.previousElementSibling)?.firstChild.focus();
    } else if (event.key === "j" || event.key === "ArrowRight") step(1);
    else if (event.key === "k" || event.key === "ArrowLeft") step(-1);
    else if (event.key === "/") { event.preventDefault(); $("search").focus(); }
  });

  return {
    index,
    attempts: (model, number, bodies) => chunks.set(`attempts-${model}-${number}.js`, bodies),
    messages: (model, texts) => messages.set(String(model), texts),
  };
})();
