// Formulas, filters, sortable tables, and what a reader without a mouse needs: nothing is requested.

// ---- formulas: \( \), \[ \] or $$ $$ around them
for (const place of document.querySelectorAll(".math")) {
  const formula = place.textContent.trim().slice(2, -2).trim();
  katex.render(formula, place, { displayMode: place.tagName === "DIV", throwOnError: false });
}

// ---- what scrolls can be reached by the keyboard
const wide = () => {
  for (const place of document.querySelectorAll("div.math, span.math, pre, .output, .book-table")) {
    if (place.scrollWidth > place.clientWidth) place.tabIndex = 0;
  }
};
document.fonts.ready.then(wide); // a formula grows when its fonts arrive
for (const change of ["load", "resize", "toggle"]) addEventListener(change, wide, true);

// ---- the other language: the same place of the same page
for (const link of document.querySelectorAll(".book-language")) {
  link.addEventListener("click", () => { link.hash = location.hash; });
}

// ---- an answer that somebody was sent to is open, and so is every one on paper
const open = (place) => {
  for (; place; place = place.parentElement) if (place.tagName === "DETAILS") place.open = true;
};
const arrive = () => {
  const place = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (place?.closest("details")) {
    open(place);
    place.scrollIntoView();
  }
};
addEventListener("hashchange", arrive);
arrive();
addEventListener("beforeprint", () => document.querySelectorAll("article details").forEach(open));

// ---- tables: a click on a heading sorts, another turns the order
const value = (row, column) => row.cells[column].textContent.trim();
const number = (text) => parseFloat(text.replace("−", "-").replaceAll(",", ""));
const compare = (a, b) => {
  const gap = number(a) - number(b);
  return Number.isNaN(gap) ? a.localeCompare(b) : gap;
};

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const order = head.ariaSort === "ascending" ? "descending" : "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.ariaSort = order;
      const sign = order === "ascending" ? 1 : -1;
      const rows = [...table.tBodies[0].rows];
      const [filled, blank] = [true, false].map((has) => rows.filter((r) => has === !!value(r, column)));
      filled.sort((a, b) => sign * compare(value(a, column), value(b, column)));
      table.tBodies[0].append(...filled, ...blank);
    });
  });
}

// ---- the question bank: which questions are shown, in which languages
const LANGUAGES = "kdlab-book-languages";
for (const form of document.querySelectorAll("form.book-filter")) {
  const fields = form.elements;
  const entries = [...document.querySelectorAll("section.book-card, table.sortable tbody tr")];
  const show = () => {
    const wanted = [...form.querySelectorAll("select")]
      .filter((field) => field.name !== "languages" && field.value)
      .map((field) => field.value);
    const words = (fields.words?.value ?? "").toLowerCase().split(/\s+/);
    for (const entry of entries) {
      entry.hidden = !wanted.every((name) => entry.classList.contains(name))
        || !words.every((word) => (entry.dataset.words ?? "").includes(word));
    }
    form.querySelector("output b").textContent = entries.filter((entry) => !entry.hidden).length;
    document.documentElement.classList.toggle("book-both", fields.languages.value === "both");
  };
  try { // a browser may refuse to keep anything
    fields.languages.value = localStorage.getItem(LANGUAGES) ?? "";
  } catch { /* then nothing is kept */ }
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", ({ target }) => {
    if (target.name === "answers") {
      for (const answer of document.querySelectorAll(".said > details")) answer.open = target.checked;
    }
    if (target.name === "languages") {
      try { localStorage.setItem(LANGUAGES, target.value); } catch { /* nothing is kept */ }
    }
    show();
  });
  fields.words?.addEventListener("input", show);
  show();
}
