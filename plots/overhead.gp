# Latency of the graph modes relative to direct, percent, against context depth.
#
# Data, one block a mode: x depth pairs median min max p10 p90 (the last two are missing here).
# Needs beside the axes': data.

set arrow 1 from graph 0, first 0 to graph 1, first 0 nohead linecolor rgb color[1] linewidth 1.4 back
set rmargin at screen 0.925 # room for the line's name, clear of the points
set label 5 'direct' at graph 1, first 0 left offset 0.5,0 textcolor rgb color[1] front

# A mode without a value gets an empty text: gnuplot 5.4 ends with a signal on labels at NaN alone.
has(y) = y == y
text_at(y, low, high) = !has(y) ? 0 : y < 0 ? low - 0.035*(y_hi - y_lo) : high + 0.035*(y_hi - y_lo)

if (single) {
	plot for [i=1:n_modes] data index i-1 using 1:4:5:6:(0.55) \
			with boxerrorbars linestyle 10+mode_styles[i] notitle, \
		for [i=1:n_modes] data index i-1 using (i):(text_at($4, $5, $6)):(has($4) ? sprintf('%+.2f %%', $4) : '') \
			with labels notitle
} else {
	plot for [i=1:n_modes] data index i-1 using ($1+dodge(i)):4:5:6 \
			with yerrorbars linestyle 10+mode_styles[i] notitle, \
		for [i=1:n_modes] data index i-1 using ($1+dodge(i)):4 \
			with linespoints linestyle mode_styles[i] notitle
}
unset output
