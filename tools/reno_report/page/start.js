"use strict";

{
  const page = document.getElementById("page");
  const data = JSON.parse(document.getElementById("data").textContent);
  ({ run: drawRun, sweep: drawSweep })[data.kind](data, page);
}
