# Mail::DKIM as a peer; orders and answers are those of dkimpy.py.
use strict;
use warnings;
use Mail::DKIM::Signer;
use Mail::DKIM::Verifier;
use Net::DNS;

my ($zonefile, $keys) = @ARGV;
my %zone;
open my $z, '<', $zonefile or die "$zonefile: $!";
while (my $line = <$z>) {
	chomp $line;
	my ($name, $record) = split / /, $line, 2;
	$zone{$name} = $record;
}

{
	no warnings 'redefine';
	*Mail::DKIM::DNS::query = sub {
		my ($name, $type) = @_;
		$@ = '';
		return unless $type eq 'TXT' && defined $zone{$name};
		return Net::DNS::RR->new(name => $name, type => 'TXT', txtdata => [unpack '(a255)*', $zone{$name}]);
	};
}

sub slurp {
	my $file = shift;
	open my $f, '<:raw', $file or die "$file: $!";
	local $/;
	my $text = <$f>;
	return defined $text ? $text : '';
}

sub verify {
	my $file = shift;
	my $v = Mail::DKIM::Verifier->new;
	$v->PRINT(slurp($file));
	$v->CLOSE;
	return $v->result eq 'pass' ? 'pass' : $v->result_detail;
}

sub sign {
	my ($file, $out, $canon, $selector) = @_;
	my $text = slurp($file);
	my $s = Mail::DKIM::Signer->new(
		Algorithm => 'rsa-sha256', Method => $canon, Domain => 'example.org', Selector => $selector,
		KeyFile => "$keys/$selector.key",
	);
	$s->PRINT($text);
	$s->CLOSE;
	open my $f, '>:raw', $out or die "$out: $!";
	print $f $s->signature->as_string . "\r\n" . $text;
	close $f;
	return 'ok';
}

$| = 1;
while (my $line = <STDIN>) {
	chomp $line;
	my ($what, @args) = split / /, $line;
	my $answer = eval { $what eq 'sign' ? sign(@args) : verify(@args) };
	$answer = "died: $@" unless defined $answer;
	$answer =~ s/\n/ /g;
	print "$answer\n";
}
