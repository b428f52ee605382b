# A token's time within its kernel, or in its kernels: three layers by multiprocessor, the whole token, what each kind of phase takes.
#
# Data, three blocks: from to (us) row kind part (0 waiting, 1 working, 2 publishing); of layers: from to (us),
# percent working, publishing, waiting; row kind waiting working publishing (us).
# Needs: n_parts and part_text[] (2 where nothing is published), data, title_text, share_text, token_us, row_text, row_lo, row_hi, zoom_lo, zoom_hi, n_marks, mark_at[],
# mark_text[], n_kinds, kinds_hi, kind_style[], and kind_name[], kind_phases[], kind_waiting[], kind_working[],
# kind_publishing[], kind_share[].

# By kind: embedding, the projection of per-layer embeddings, qkv, these embeddings, what makes q, k and v ready, attention,
# its output, norms, the router, gate and up, down, gate and up and down of experts, the embeddings' gate and projection,
# the head. Waiting is a paler tone of each, publishing a darker one.
array hue[16] = [0x000000, 0x000000, 0x0072B2, 0x505050, 0x00A0A8, 0xD55E00, 0x009E73, 0x8C8C00, 0x7F3FBF, 0xE69F00, \
	0xCC79A7, 0x2F6B1F, 0x882255, 0x56B4E9, 0x8B5A2B, 0x000000]
mix(c, to, f) = int((1 - f)*c + f*to + 0.5)
toned(c, to, f) = mix((c>>16)&255, to, f)*65536 + mix((c>>8)&255, to, f)*256 + mix(c&255, to, f)
tone(c, part) = part == 0 ? toned(c, 255, 0.76) : part == 2 ? toned(c, 0, 0.55) : toned(c, 255, 0.12)
web(c) = sprintf('#%06x', c)
grey = 0x7F7F7F

zoom_top = 86; zoom_bottom = 470; all_top = 548; all_bottom = 640; kinds_top = 728; row = 22   # px
left = 0.085; right = 0.975

y = 1 - px(legend_top)
do for [i=0:n_parts-1] {
	x = left + (n_parts < 3 ? 0.34 : 0.25)*i
	set object 11+i rectangle from screen x, y-px(6) to screen x+0.03, y+px(6) fillcolor rgb web(tone(grey, i)) \
		fillstyle solid noborder front
	set label 11+i part_text[i+1] at screen x+0.038, y left front
}

unset key
set multiplot
set style fill solid noborder
set lmargin at screen left
set rmargin at screen right

set tmargin at screen 1 - px(zoom_top)
set bmargin at screen 1 - px(zoom_bottom)
unset grid
set xrange [zoom_lo:zoom_hi]
set yrange [row_lo:row_hi]
if (row_hi - row_lo < 8) { set ytics 1 } else { set ytics autofreq }
set ylabel row_text offset 1.2,0
set xlabel 'microseconds since the token began' offset 0,0.4
do for [i=1:n_marks] {
	set arrow 20+i from first mark_at[i], graph 0 to first mark_at[i], graph 1.02 nohead \
		linecolor rgb '#202020' linewidth 1 dashtype '.' front
	set label 20+i mark_text[i] at first mark_at[i], graph 1.025 left offset 0.3,0.3 front
}
plot data index 0 using 1:3:1:2:($3-0.5):($3+0.5):(tone(hue[int($4)], $5)) with boxxyerror linecolor rgb variable
do for [i=1:2] { unset label i }
do for [i=11:13] { unset label i; unset object i }
do for [i=1:n_marks] { unset arrow 20+i; unset label 20+i }

set tmargin at screen 1 - px(all_top)
set bmargin at screen 1 - px(all_bottom)
set xrange [0:token_us]
set yrange [0:100]
set ytics 50
set ylabel '% of time' offset 1.2,0
set xlabel 'layer after layer, microseconds since the token began' offset 0,0.4
set label 31 share_text at graph 0, graph 1 left offset 0,0.6 front
set object 31 rectangle from first zoom_lo, graph -0.02 to first zoom_hi, graph 1.02 \
	fillstyle empty border linecolor rgb '#D55E00' linewidth 1.6 front
# Between bars as much as they can spare, and never so much that it looks like time.
gap(from, to) = 0.04*(to - from) < 0.0015*token_us ? 0.04*(to - from) : 0.0015*token_us
plot data index 1 using (($1+$2)/2):3:($1+gap($1,$2)):($2-gap($1,$2)):(0):3 \
		with boxxyerror linecolor rgb web(tone(grey, 1)), \
	data index 1 using (($1+$2)/2):3:($1+gap($1,$2)):($2-gap($1,$2)):3:($3+$4) \
		with boxxyerror linecolor rgb web(tone(grey, 2)), \
	data index 1 using (($1+$2)/2):3:($1+gap($1,$2)):($2-gap($1,$2)):($3+$4):($3+$4+$5) \
		with boxxyerror linecolor rgb web(tone(grey, 0))
unset object 31
unset label 31

# Bars, and beside them their numbers as a table.
array column_x[5] = [0.63, 0.71, 0.79, 0.885, 0.975]
array column_text[5] = ['phases', 'waits', 'works', 'publishes', 'of token']
set tmargin at screen 1 - px(kinds_top)
set bmargin at screen 1 - px(kinds_top + row*n_kinds)
set lmargin at screen left + 0.075
set rmargin at screen 0.56
set border 1
set xrange [0:1.02*kinds_hi]
set yrange [n_kinds+0.5:0.5]
unset ytics
unset ylabel
set xlabel 'microseconds of the token, in all '.(n_parts < 3 ? 'kernels' : 'phases').' of a kind'
set label 41 (n_parts < 3 ? 'microseconds of a kernel' : 'microseconds of a phase') at screen 0.79, 1 - px(kinds_top - 28) center textcolor rgb '#404040' front
if (n_parts < 3) { column_text[4] = ''; column_text[1] = 'kernels'; column_x[2] = 0.725; column_x[3] = 0.865 }
do for [c=1:5] { set label 41+c column_text[c] at screen column_x[c], 1 - px(kinds_top - 11) right front }
do for [k=1:n_kinds] {
	b = 40 + 10*k
	set label b kind_name[k] at graph 0, first k right offset -0.6,0 textcolor rgb web(hue[int(kind_style[k])]) front
	set label b+1 kind_phases[k] at screen column_x[1], first k right front
	set label b+2 kind_waiting[k] at screen column_x[2], first k right front
	set label b+3 kind_working[k] at screen column_x[3], first k right front
	if (n_parts > 2) { set label b+4 kind_publishing[k] at screen column_x[4], first k right front }
	set label b+5 kind_share[k] at screen column_x[5], first k right front
}
plot data index 2 using ($4/2):1:(0):4:($1-0.38):($1+0.38):(tone(hue[int($2)], 1)) with boxxyerror linecolor rgb variable, \
	data index 2 using 4:1:4:($4+$5):($1-0.38):($1+0.38):(tone(hue[int($2)], 2)) with boxxyerror linecolor rgb variable, \
	data index 2 using 4:1:($4+$5):($3+$4+$5):($1-0.38):($1+0.38):(tone(hue[int($2)], 0)) \
		with boxxyerror linecolor rgb variable
unset multiplot
unset output
