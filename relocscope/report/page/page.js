// Puts the interactive picture where the drawn one is; without this script the drawn ones stay.
const pictures = JSON.parse(document.getElementById("specs").textContent);
// A telephone has no room for wide legends and long names.
const fitted = (spec, width) => width >= 500 ? { ...spec, width: "container" } : {
  ...spec,
  width: "container",
  config: { ...spec.config, legend: { ...spec.config.legend, columns: 2 }, axis: { ...spec.config.axis, labelLimit: 90 } },
};
const drawAll = Object.entries(pictures).map(async ([id, spec]) => {
  const place = document.getElementById(id);
  const still = place.innerHTML;
  try {
    await vegaEmbed(place, fitted(spec, place.clientWidth), {
      renderer: "svg", actions: false, ast: true, tooltip: { theme: "custom" }, bind: document.getElementById(`${id}-controls`),
    });
  } catch (error) {
    place.innerHTML = still;
    throw error;
  }
});
Promise.all(drawAll).then(() => { document.documentElement.dataset.drawn = "yes"; });
window.addEventListener("beforeprint", () => {
  for (const table of document.querySelectorAll("details.print")) table.open = true;
});
