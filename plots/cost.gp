# A time per token against context depth, by mode: latency and submit.
#
# Data, one block a mode: x depth repetitions median min max p10 p90, times in microseconds.
# Needs beside the axes': data, scale (microseconds to the axis' unit).

# A mode without a value gets an empty text: gnuplot 5.4 ends with a signal on labels at NaN alone.
has(y) = y == y

if (single) {
	plot for [i=1:n_modes] data index i-1 using 1:($4*scale):($5*scale):($6*scale):(0.55) \
			with boxerrorbars linestyle 10+mode_styles[i] notitle, \
		for [i=1:n_modes] data index i-1 using (i):(has($4) ? $6*scale : 0):(has($4) ? sprintf('%.4g', $4*scale) : '') \
			with labels offset 0,0.8 notitle
} else {
	pale(i) = '#B0'.substr(color[mode_styles[i]], 2, 7)   # alpha before the colour
	plot for [i=1:n_modes] data index i-1 using ($1+dodge(i)):($7*scale):(0):(($8-$7)*scale) \
			with vectors nohead linetype 1 linewidth 6 linecolor rgb pale(i) notitle, \
		for [i=1:n_modes] data index i-1 using ($1+dodge(i)):($4*scale):($5*scale):($6*scale) \
			with yerrorbars linestyle 10+mode_styles[i] notitle, \
		for [i=1:n_modes] data index i-1 using ($1+dodge(i)):($4*scale) \
			with linespoints linestyle mode_styles[i] notitle
}
unset output
