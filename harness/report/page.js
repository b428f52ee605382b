"use strict";
/* Tables that sort by a click, long ones folded; a point's row beside it. Without this all rows and titles are there. */
(function () {
	function keyOf(row, column) {
		var cell = row.cells[column], number = cell.dataset.v;
		return number === undefined ? null : Number(number);
	}

	/* What has no number goes behind, whichever way is up. */
	function compare(a, b, column, isNumber, sign) {
		if (isNumber) {
			var x = keyOf(a, column), y = keyOf(b, column);
			if (x === null || y === null)
				return (x === null) - (y === null);
			return sign * (x - y);
		}
		return sign * a.cells[column].textContent.localeCompare(b.cells[column].textContent, "en", {numeric: true});
	}

	function unfold(table) {
		table.querySelectorAll("tr.rest").forEach(function (row) { row.classList.remove("rest"); });
		var button = table.parentNode.parentNode.querySelector(".more");
		if (button)
			button.remove();
	}

	function sort(table, heads, column) {
		var head = heads[column], descending = head.getAttribute("aria-sort") === "ascending";
		var rows = Array.from(table.tBodies[0].rows);
		var isNumber = rows.some(function (row) { return keyOf(row, column) !== null; });
		unfold(table);
		rows.sort(function (a, b) { return compare(a, b, column, isNumber, descending ? -1 : 1); });
		rows.forEach(function (row) { table.tBodies[0].appendChild(row); });
		heads.forEach(function (other) { other.setAttribute("aria-sort", "none"); });
		head.setAttribute("aria-sort", descending ? "descending" : "ascending");
	}

	document.querySelectorAll("table").forEach(function (table) {
		var heads = Array.from(table.tHead.rows[0].cells), rows = Array.from(table.tBodies[0].rows);
		var open = Number(table.dataset.open);
		heads.forEach(function (head, column) {
			var button = document.createElement("button");
			button.textContent = head.textContent;
			head.textContent = "";
			head.appendChild(button);
			head.setAttribute("aria-sort", "none");
			button.addEventListener("click", function () { sort(table, heads, column); });
		});
		if (!open || rows.length <= open + 2)
			return;
		rows.slice(open).forEach(function (row) { row.classList.add("rest"); });
		var more = document.createElement("button");
		more.className = "more";
		more.textContent = "Show " + (rows.length - open) + " more rows";
		more.addEventListener("click", function () { unfold(table); });
		table.parentNode.after(more);
	});

	var tip = document.createElement("div"), shown = null;
	tip.id = "tip";
	tip.hidden = true;
	tip.setAttribute("role", "tooltip");
	document.body.appendChild(tip);

	function hide() {
		if (shown)
			shown.classList.remove("shown");
		shown = null;
		tip.hidden = true;
	}

	function show(point) {
		var at = point.getBoundingClientRect();
		hide();
		shown = point;
		point.classList.add("shown");
		tip.textContent = point.tip;
		tip.hidden = false;
		var left = at.left + at.width / 2 - tip.offsetWidth / 2, top = at.top - tip.offsetHeight - 8;
		tip.style.left = Math.max(8, Math.min(left, document.documentElement.clientWidth - tip.offsetWidth - 8)) + "px";
		tip.style.top = (top < 8 ? at.bottom + 8 : top) + "px";
	}

	document.querySelectorAll("path.p").forEach(function (point) {
		var title = point.querySelector("title");
		point.tip = title.textContent;
		title.remove();
		point.addEventListener("pointerenter", function () { show(point); });
		point.addEventListener("pointerleave", function (event) {
			if (event.pointerType !== "touch")
				hide();
		});
	});
	document.addEventListener("pointerdown", function (event) {
		if (!event.target.closest || !event.target.closest("path.p"))
			hide();
	});
	document.addEventListener("scroll", hide, true);
})();
