/* The page looks at itself again every ten seconds, unless somebody is writing in it or reads with it open. */
(() => {
  const every = 10000;
  const busy = () =>
    document.hidden ||
    document.querySelector("main details[open] form, main input:checked") ||
    /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName ?? "");

  async function again() {
    if (busy() || location.search.includes("said=")) return;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (!answer.ok) throw new Error(answer.status);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (busy()) return;
      const open = [...document.querySelectorAll("main details[open][id]")].map((it) => it.id);
      document.querySelector("main").replaceWith(page.querySelector("main"));
      for (const id of open) document.getElementById(id)?.setAttribute("open", "");
      document.body.classList.remove("away");
    } catch {
      document.body.classList.add("away");
    }
  }

  if (document.querySelector("main[data-again]")) setInterval(again, every);

  document.addEventListener("change", (event) => {
    if (event.target.id !== "all") return;
    for (const box of document.querySelectorAll("input[name=id]")) box.checked = event.target.checked;
  });
})();
