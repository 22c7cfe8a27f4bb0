# How often each word occurs, the sum of all numbers, the longest line.
{
    for (i = 1; i <= NF; i++) {
        if ($i ~ /^[0-9]+$/)
            sum += $i
        else
            count[$i]++
    }
    if (length($0) > longest)
        longest = length($0)
}
END {
    for (word in count) {
        words++
        if (count[word] > most || (count[word] == most && word < top)) {
            most = count[word]
            top = word
        }
    }
    print words, most, top, sum, longest
}
