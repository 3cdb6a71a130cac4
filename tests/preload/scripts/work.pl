# What Perl programs do: hashes, sorting, patterns, strings that grow, closures.
use strict;
use warnings;
use Digest::SHA qw(sha256_hex);

my $seed = 1;

sub number {
    $seed = ($seed * 1103515245 + 12345) % 2147483648;
    return $seed >> 8;
}

sub digest {
    my ($name, @values) = @_;
    print "$name ", sha256_hex(join("\n", @values)), "\n";
}

my %groups;
push @{ $groups{"key" . number() % 997}{ number() % 7 } }, number() for 1 .. 60000;
digest("groups", map {
        my $key = $_;
        map { "$key $_ " . join(",", sort { $a <=> $b } @{ $groups{$key}{$_} }) }
            sort keys %{ $groups{$key} }
} sort keys %groups);
delete $groups{$_} for (sort keys %groups)[0 .. 500];

my $text = join(" ", map { sprintf("%x-%d", number(), number() % 100) } 1 .. 40000);
my @found = $text =~ /([0-9a-f]+)-(\d+)/g;
(my $swapped = $text) =~ s/(\w+)-(\d+)/$2:$1/g;
digest("patterns", scalar(@found), $swapped, join("", reverse split //, $swapped));

my @buffers = ("") x 40;
for (1 .. 60000) {
    my $n = number();
    $buffers[$n % 40] .= chr(65 + $n % 26) x ($n % 300);
    $buffers[$n % 40] = substr($buffers[$n % 40], 0, 50) if $n % 4001 == 0;
}
digest("growth", map { sha256_hex($_) } @buffers);

my @counters = map { my $n = $_; sub { return $n += shift } } 1 .. 3000;
$counters[ number() % 3000 ]->(number() % 10) for 1 .. 60000;
digest("closures", map { $_->(0) } @counters);

my @rows = map { { id => $_, name => "n" . number() % 500, value => number() } } 1 .. 20000;
my @sorted = sort { $a->{name} cmp $b->{name} || $a->{value} <=> $b->{value} } @rows;
digest("sorted", map { "$_->{id} $_->{name} $_->{value}" } @sorted);

$| = 1;
for my $code (1 .. 5) {
    my $child = fork();
    die "fork: $!" unless defined $child;
    if ($child == 0) {
        my @many = map { "x" x ($_ % 100) } 1 .. 20000;
        exit(length(join("", @many)) % 100 + $code);
    }
    waitpid($child, 0);
    print "child ", $? >> 8, "\n";
}
