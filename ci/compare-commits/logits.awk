# Are two files of logits equal within a tolerance? Reads pairs of numbers, base and head, a logit a line, row by row of
# -v vocab=N. -v tolerance=R: of the relative L2 distance of everything.
#
# In every row in which base's likeliest token leads by more than MARGIN times what the tolerance leaves to a logit of
# its size, head's must be the same one: a few wrong rows among many are lost in the sum.
#
# Prints one line. Exit code 0: equal within the tolerance, 1: not, 2: no numbers, or not whole rows.
BEGIN { MARGIN = 10 }
NF != 2 { unequal = 1; exit }
{
  if ($1 !~ /^[-+]?[0-9]/ || $2 !~ /^[-+]?[0-9]/) {
    odd = sprintf("logit %d of row %d is %s in base, %s in head", n % vocab, int(n / vocab), $1, $2)
    exit
  }
  x = $1 + 0
  y = $2 + 0
  at = n % vocab
  if (at == 0) {
    row_square = 0
    top = second = top_head = ""
  }
  if (top == "" || x > top) {
    second = top
    top = x
    top_at = at
  } else if (second == "" || x > second)
    second = x
  if (top_head == "" || y > top_head) {
    top_head = y
    top_head_at = at
  }
  row_square += x * x
  square += x * x
  difference += (x - y) * (x - y)
  n++
  if (at == vocab - 1) {
    rows++
    if (vocab > 1 && top - second > MARGIN * tolerance * sqrt(row_square / vocab)) {
      clear++
      if (top_at != top_head_at && wrong == "")
        wrong = sprintf("row %d: token %d is likeliest in base, by %.3g, and %d in head", rows - 1, top_at,
                        top - second, top_head_at)
    }
  }
}
END {
  if (odd != "") {
    print odd
    exit 1
  }
  if (unequal || !n || n % vocab) {
    print "not the same number of logits, or no whole rows"
    exit 2
  }
  distance = square > 0 ? sqrt(difference / square) : (difference > 0 ? 1 : 0)
  printf "relative L2 %.3g (%g allowed)", distance, tolerance
  if (wrong != "")
    printf "; %s", wrong
  else
    printf "; the likeliest token the same in the %d of %d rows where it leads clearly", clear, rows
  printf "\n"
  exit !(distance <= tolerance && wrong == "")
}
