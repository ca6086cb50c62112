// Choose light or dark before the first paint; a classic script so that it runs ahead of the style sheet.
(() => {
  "use strict";
  const KEY = "vedette.theme";
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const read = () => {
    try {
      const kept = localStorage.getItem(KEY);
      return kept === "light" || kept === "dark" ? kept : "auto";
    } catch {
      return "auto"; // storage is forbidden: follow the system
    }
  };
  let choice = read();
  const apply = () => {
    const theme = choice === "auto" ? (dark.matches ? "dark" : "light") : choice;
    document.documentElement.dataset.theme = theme;
    const meta = document.querySelector("meta[name=theme-color]");
    if (meta) meta.content = theme === "dark" ? "#0d0f13" : "#f6f7f9";
  };
  dark.addEventListener("change", apply);
  apply();
  window.vedetteTheme = {
    get: () => choice,
    next() {
      choice = { auto: "light", light: "dark", dark: "auto" }[choice];
      try {
        if (choice === "auto") localStorage.removeItem(KEY);
        else localStorage.setItem(KEY, choice);
      } catch {
        // not kept, still applied
      }
      apply();
      return choice;
    },
  };
})();
