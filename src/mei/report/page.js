(function () {
  "use strict";
  var figures = JSON.parse(document.getElementById("figures").textContent);
  var palette = ["ink", "soft", "accent", "gain", "loss", "lossSoft", "muted", "grid", "panel", "edge",
    "series1", "series2", "series3", "series4", "series5", "series6"];
  function colours() {
    var style = getComputedStyle(document.documentElement), found = {};
    palette.forEach(function (name) { found[name] = style.getPropertyValue("--" + name).trim(); });
    return found;
  }
  function painted(value, found) {
    if (Array.isArray(value)) { return value.map(function (item) { return painted(item, found); }); }
    if (value === null || typeof value !== "object") { return value; }
    var copy = {};
    Object.keys(value).forEach(function (key) {
      var item = value[key];
      var isColour = (key === "color" || key === "fillcolor") && typeof item === "string";
      copy[key] = isColour ? found[item] || item : painted(item, found);
    });
    return copy;
  }
  function axis(given, found) {
    return Object.assign({ gridcolor: found.grid, zerolinecolor: found.edge, linecolor: found.edge, automargin: true }, given);
  }
  function draw() {
    var found = colours();
    Object.keys(figures).forEach(function (id) {
      var figure = painted(figures[id], found);
      var layout = Object.assign({
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
        font: { color: found.soft, family: "system-ui, sans-serif", size: 12 },
        margin: { l: 60, r: 16, t: 30, b: 36 }, hovermode: "x unified",
        hoverlabel: { bgcolor: found.panel, bordercolor: found.edge, font: { color: found.ink } },
        modebar: { bgcolor: "rgba(0,0,0,0)", color: found.edge, activecolor: found.accent },
        legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", itemsizing: "constant" }
      }, figure.layout);
      ["xaxis", "yaxis", "yaxis2"].forEach(function (name) {
        if (layout[name]) { layout[name] = axis(layout[name], found); }
      });
      Plotly.react(id, figure.data, layout, { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d"] });
    });
  }
  draw();
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  document.documentElement.dataset.drawn = "yes";
})();
