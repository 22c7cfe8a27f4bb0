#!/usr/bin/env python3
"""Runs a list of programs (checksums, compressors, text tools, calculators, interpreters, OpenSSL, sqlite, gcc) in a guest and
on the host, the same files on the same deterministic inputs, and compares what they write byte for byte.

What may differ between hosts is kept out: hash seeds are fixed, and floating point is printed so that every digit counts,
which needs a guest CPU with the host's FMA (-cpu max; glibc's functions have variants whose last digits differ). Debian's
QEMU passes."""

import sys

import generate
import guestjobs
import guestlib
import guestroot

PROGRAMS = ("bash cat head tail tr cut wc od paste join comm uniq sort tac fold nl seq factor base64 cksum sum md5sum sha1sum sha256sum "
            "sha512sum b2sum gzip bzip2 xz zstd mawk gawk sed grep diff cmp bc perl python3 openssl sqlite3 find xargs split shuf tee "
            "rm mkdir date numfmt printf expr").split()
KEY, IV = "-K " + "00112233445566778899aabbccddeeff" * 2, "-iv 000102030405060708090a0b0c0d0e0f"

PERL = r"""
my %count; open my $f, "<", "text" or die; while (<$f>) { $count{$_}++ for split; }
print "$_ $count{$_}\n" for sort keys %count;
my ($x, $s) = (0.5, 0); for my $i (1..20000) { $x = 3.75 * $x * (1 - $x); $s += sin($x) * exp(-$x) + atan2($i, $x); }
printf "%.17g %.17g\n", $x, $s; print join(",", map { sprintf "%x", $_ * 0x9E3779B9 & 0xFFFFFFFF } 1..1000), "\n";
my $t = join " ", sort keys %count; $t =~ s/(\w+) (\w+)/$2-$1/g; print "$t\n"; print pack("N*", map { $_ ** 2 } 1..100);
"""
PYTHON = r"""
import hashlib, math, re, struct
text = open("text").read()
count = {}
for word in re.findall(r"\w+", text):
    count[word] = count.get(word, 0) + 1
print(sorted(count.items(), key=lambda item: (-item[1], item[0])))
print(pow(3, 12345, 2**521 - 1), 7**2000 % (10**50 + 151), math.factorial(400))
x, total = 0.3, 0.0
for i in range(1, 20000):
    x = 3.9 * x * (1 - x)
    total += math.sin(x) * math.exp(x) / math.log(i + 1) + math.tan(x) ** 0.5 if x < 1.5 else 0.0
print(repr(x), repr(total), [repr(math.sqrt(i)) for i in range(50)])
print(hashlib.sha3_256(text.encode()).hexdigest(), hashlib.blake2s(text.encode()).hexdigest())
print(struct.pack("<dfqi", math.pi, math.e, -5, 7).hex(), f"{math.pi:.15e}", float("1.7976931348623157e308"), 5e-324)
primes = [n for n in range(2, 3000) if all(n % p for p in range(2, int(n**0.5) + 1))]
print(sum(primes), primes[-5:])
"""
SQL = r"""
CREATE TABLE t(id INTEGER PRIMARY KEY, k TEXT, n INTEGER, x REAL, w TEXT);
.separator " "
.import rows raw
INSERT INTO t(k, n, x, w) SELECT * FROM raw;
CREATE INDEX tk ON t(k); CREATE INDEX tn ON t(n);
SELECT w, count(*), sum(n), min(x), max(x), total(n * 1.5) FROM t GROUP BY w ORDER BY w;
SELECT a.id, b.id FROM t a JOIN t b ON a.k = b.k AND a.id < b.id ORDER BY a.id, b.id LIMIT 500;
UPDATE t SET x = x * 1.000001 + n % 7 WHERE w < 'm'; DELETE FROM t WHERE n % 5 = 0;
SELECT count(*), sum(x), hex(substr(group_concat(w), 1, 100)) FROM t;
WITH RECURSIVE c(i, v) AS (SELECT 1, 1.0 UNION ALL SELECT i + 1, v * 1.01 + i FROM c WHERE i < 500) SELECT sum(v), max(i) FROM c;
PRAGMA integrity_check;
"""
BC = """scale = 200; 4 * a(1); e(1); sqrt(2)
for (i = 1; i < 60; i++) 2 ^ (i * 7) % 1000003
define f(n) {
    if (n < 2) return (n)
    return (f(n - 1) + f(n - 2))
}
f(16); scale = 0; 3 ^ 2000 / 7 ^ 500
"""

# Name: command. Each writes NAME.out, here %OUT, in /job. `text`, `rows`, `bytes`, `other` and the scripts are there.
JOBS = {
    "checksums": "for p in md5sum sha1sum sha256sum sha512sum b2sum cksum sum; do $p text bytes rows; done >%OUT",
    "gzip": "gzip -9nc text >%OUT && gzip -1nc bytes >>%OUT && gzip -dc %OUT | cmp - both",
    "bzip2": "bzip2 -9c text >%OUT && bzip2 -dc %OUT | cmp - text",
    "xz": "xz -6ec --threads=1 text >%OUT && xz -c --check=crc64 --x86 --lzma2=dict=64KiB bytes >>%OUT && xz -dc %OUT | cmp - both",
    "zstd": "zstd -q -19 -c --single-thread text >%OUT && zstd -q -3 -c --single-thread bytes >>%OUT && zstd -qdc %OUT | cmp - both",
    "sort": "sort text >%OUT && sort -k2,2n rows >>%OUT && sort -k3,3gr -k1,1 rows | uniq -c >>%OUT && sort -ru --parallel=1 text >>%OUT",
    "coreutils": "(tr a-z A-Z <text | fold -w 40 | nl | tail -n 300; tac rows | cut -d ' ' -f 2,4 | paste - - -; "
            "od -A x -t x8z -t fD bytes | head -n 300;"
            " base64 bytes; factor 1234567890123456789 18446744073709551557 $(seq 1000000 1000040); seq 0 0.037 3; wc text rows bytes;"
            " sort -u text >one; sort -u other >two; comm one two; sort -k1,1 rows >one; tac one | sort -k1,1 -s >two; "
            "join one two | head -n 500;"
            " numfmt --to=iec 1234567 99999999999; split -n l/3/5 text; shuf --random-source=bytes -n 200 text; "
            "date -u -d '2009-02-13 23:31:30 +0200') >%OUT",
    "mawk": "mawk '{ for (i = 1; i <= NF; i++) c[$i]++ } END { for (w in c) print w, c[w] }' text | sort >%OUT && "
            "mawk '{ s += $3 * $2; q += sqrt($3 * $3 + 1); t[$4] += sin($2) } END { printf \"%.17g %.17g\\n\", s, q; "
            "for (k in t) printf \"%s %.15g\\n\", k, t[k] }' rows | sort >>%OUT",
    "gawk": "gawk '{ x = x + log($2 < 0 ? -$2 + 1 : $2 + 1) * cos($3); n[length($0)]++; gsub(/k[0-9]/, \"<&>\"); if (NR % 97 == 0) print } "
            "END { printf \"%.17g %d\\n\", x, 2 ^ 53; PROCINFO[\"sorted_in\"] = \"@ind_num_asc\"; for (l in n) print l, n[l]; "
            "print strtonum(\"0x1f\"), substr(\"translate\", 3, 4) }' rows >%OUT",
    "sed": "sed -E 's/([a-z]+) ([0-9]+)/\\2:\\1/g; /zero/d; y/abc/xyz/; 3~7{s/^/> /;G}' text >%OUT && "
            "sed -n '/page/,/walk/p;$=' text >>%OUT",
    "grep": "(grep -nE '(fault|trap).*[0-9]{3}' text; grep -c zero text; grep -oiw 'ta[a-z]*' text | sort | uniq -c; "
            "grep -vE '[aeiou]{2}' text | tail -n 50;"
            " head -n 5 rows | cut -d ' ' -f 4 >one; grep -F -f one text | wc -l; grep -nE '(.)\\1(.)\\2' text | head -n 50; "
            "grep -cP '(?<=page )\\w+(?= [0-9])' text) >%OUT",
    "diff": "diff -u --label a --label b text other >%OUT; [ $? = 1 ] && { diff -y -W 100 text other | head -n 500; "
            "diff --ignore-case rows rows && echo same; } >>%OUT",
    "bc": "bc -lq <sums.bc >%OUT",
    "perl": "perl program.pl >%OUT",
    "python": "python3 -I -S program.py >%OUT",
    "openssl-digests": "for d in md5 sha1 sha224 sha256 sha384 sha512 sha512-256 sha3-256 sha3-512 shake256 blake2b512 blake2s256 sm3 ripemd160; "
            "do openssl dgst -$d bytes text; done >%OUT"
            " && openssl dgst -sha256 -hmac key bytes >>%OUT && "
            "openssl dgst -mac CMAC -macopt cipher:aes-128-cbc -macopt hexkey:00112233445566778899aabbccddeeff text >>%OUT",
    "openssl-ciphers": "for c in aes-128-cbc aes-128-ctr aes-128-ofb camellia-128-cbc aria-128-ctr sm4-cbc; "
            "do openssl enc -$c -in bytes -K 00112233445566778899aabbccddeeff " + IV + "; done >%OUT"
            " && for c in aes-256-cbc aes-256-ctr aes-256-cfb camellia-256-ctr aria-256-cbc chacha20; "
            "do openssl enc -$c -in text " + KEY + " " + IV + "; done >>%OUT"
            " && openssl enc -aes-256-cbc -pbkdf2 -iter 2000 -S 0011223344556677 -pass pass:secret -in text >>%OUT",
    "openssl-keys": "openssl pkey -in rsa.pem -pubout >%OUT && openssl dgst -sha256 -sign rsa.pem text >>%OUT && "
            "openssl pkeyutl -sign -rawin -inkey ed25519.pem -in text >>%OUT"
            " && openssl pkeyutl -derive -inkey x25519.pem -peerkey x25519.pub >>%OUT && "
            "openssl prime 1000000007 1000000011 >>%OUT",
    "sqlite": "rm -f t.db && sqlite3 -batch t.db <script.sql >%OUT && sqlite3 -readonly t.db .dump | sort | tail -n 400 >>%OUT",
    "gcc": "gcc -w -O2 -S -masm=intel program.c -o %OUT && gcc -w -O3 -mavx2 -mfma -c program.c -o o3.o && cat o3.o >>%OUT && "
            "gcc -w -O1 program.c -lm -o program && ./program >>%OUT",
    "bash": "head -n 1500 rows >few; bash program.sh >%OUT",
}
BASH = r"""
set -u
declare -A seen; total=0
while read -r k n x w; do seen[$w]=$(( ${seen[$w]:-0} + 1 )); (( total = (total * 31 + n) & 0xffffffffff )); done <few
for w in $(printf '%s\n' "${!seen[@]}" | sort); do echo "$w ${seen[$w]}"; done
echo "$total"; for ((i = 0; i < 1500; i++)); do s="${s:-}$(( (i * i) % 10 ))"; done; echo "${s//12/ab}"; printf '%08.3f|%x|%q\n' 3.14159 48879 'a b'
for i in {1..40}; do (exit $((i % 7))) || echo -n "$? "; done; echo; echo "${s:100:50} ${s: -20}"
"""
QUICK = ("checksums", "gzip", "bzip2", "sort", "mawk", "sed", "grep", "perl", "openssl-digests", "openssl-ciphers", "bash")


def selection_for_jobs():
    selection = guestroot.Selection().add_programs(*PROGRAMS).add_compiler()
    selection.add("usr/lib/python3.11", guestroot.LIBRARIES + "/perl-base", "usr/bin/python3.11")
    return selection


def make_files(native_selection, scale):
    """The inputs. Keys are made by OpenSSL on the host, once a run: what is compared is what is done with them."""
    files = {"text": generate.text(400000 // scale, 1), "rows": generate.table(6000 // scale, 2), "bytes": generate.binary(300000 // scale, 3),
             "program.c": generate.c_source(900 // scale + 200, 4, main=True), "program.pl": PERL.encode(), "program.py": PYTHON.encode(),
             "script.sql": SQL.encode(), "sums.bc": BC.encode(), "program.sh": BASH.encode()}
    files["other"] = files["text"].replace(b"walk", b"WALK").replace(b"host guest", b"guest host")
    files["both"] = files["text"] + files["bytes"]
    with guestroot.Native(native_selection, {}) as native:
        status = native.run("openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.pem && "
                            "openssl genpkey -algorithm ed25519 -out ed25519.pem && "
                            "openssl genpkey -algorithm x25519 -out x25519.pem && openssl genpkey -algorithm x25519 | openssl pkey -pubout -out x25519.pub")
        if status:
            raise guestlib.Failed("openssl makes no keys natively: " + native.errors)
        for name in ("rsa.pem", "ed25519.pem", "x25519.pem", "x25519.pub"):
            files[name] = native.read(name)
    return files


def run(test, names, scale):
    selection = selection_for_jobs()
    jobs = {name: JOBS[name].replace("%OUT", f"{name}.out") for name in names}
    return guestjobs.compare(test, selection, make_files(selection, scale), jobs)


def main():
    test = guestlib.Test("guest_native_compare", __doc__, limit=3600)
    test.parser.add_argument("--only", choices=JOBS, help="one program")
    args = test.parse()
    if args.only:
        test.step(args.only, run, test, [args.only], 1)
    elif args.quick:
        test.step("quick", run, test, QUICK, 8)
    else:
        # Several boots, so that a run that is stopped goes on.
        names = list(JOBS)
        for first in range(0, len(names), 7):
            test.step("-".join(names[first:first + 7]), run, test, names[first:first + 7], 1)
    return test.finish()


if __name__ == "__main__":
    sys.exit(main())
