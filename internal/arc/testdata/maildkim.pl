# Checks messages with Mail::DKIM. They come on standard input with a NUL between them; a line for each tells the result.
# usage: perl maildkim.pl ZONE      which has one key a line: its name, a space, its record
use strict;
use warnings;
use Mail::DKIM::DNS;
use Mail::DKIM::ARC::Verifier;
use Net::DNS;

my %keys;
open my $zone, '<', $ARGV[0] or die "$ARGV[0]: $!";
while (<$zone>) {
    chomp;
    my ($name, $record) = split / /, $_, 2;
    $keys{lc $name} = $record;
}

sub answer {
    my ($name) = @_;
    my $record = $keys{lc $name};
    return unless defined $record;
    return Net::DNS::RR->new(name => $name, type => 'TXT', txtdata => [ $record =~ /(.{1,255})/g ]);
}
no warnings 'redefine';
*Mail::DKIM::DNS::query = sub { $@ = ''; return answer($_[0]) };
*Mail::DKIM::DNS::query_async = sub {
    my ($name, $type, %with) = @_;
    my @found = answer($name);
    return sub { $@ = ''; return $with{Callbacks}{Success}->(@found) };
};

binmode STDIN;
local $/;
for my $message (split /\0/, <STDIN>) {
    my $verifier = Mail::DKIM::ARC::Verifier->new;
    $verifier->PRINT($message);
    $verifier->CLOSE;
    print $verifier->result_detail, "\n";
}
