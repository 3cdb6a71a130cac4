# What scripts do all day: hashes, lists, strings, patterns. Prints checksums.
use strict;
use warnings;

my $state = 12345;

sub draw {
    my ($limit) = @_;
    $state = ($state * 1103515245 + 12345) % 2147483648;
    return int($state / 65536) % $limit;
}

sub word {
    return join '', map { chr(97 + draw(16)) } 1 .. 3 + draw(9);
}

my @words = map { word() } 1 .. 3000;
my %lines;
my @texts;
for my $number (1 .. 25000) {
    my @chosen = map { $words[draw(scalar @words)] } 1 .. 12;
    push @texts, join ' ', @chosen;
    push @{ $lines{$_} }, $number for @chosen;
}

my $common = 0;
for my $name (sort { @{ $lines{$b} } <=> @{ $lines{$a} } || $a cmp $b } keys %lines) {
    $common += length($name) * @{ $lines{$name} };
}

my ($swaps, $length) = (0, 0);
for my $text (@texts) {
    (my $copy = $text) =~ s/\b([a-h])(\w*)/$2$1/g;
    $swaps += () = $copy =~ /[aeiou]\b/g;
    $length += length(join '-', reverse split / /, $copy);
}

my %left = map { $_ => [ split //, $texts[$_] ] } 0 .. 4500;
delete @left{ grep { $_ % 3 } keys %left };
print "$common $swaps $length ", scalar(keys %left), "\n";
