package smtp

import (
	"testing"

	"pennypost/internal/envelope"
	"pennypost/internal/status"
)

// Each time and priority by what the server offers: what is said behind MAIL FROM, or why nothing is.
func TestTimes(t *testing.T) {
	type offers = map[string]string
	tests := []struct {
		name   string
		e      envelope.Envelope
		offers offers
		want   string
	}{
		{"priority", envelope.Envelope{Priority: "-3"}, offers{"MT-PRIORITY": ""}, " MT-PRIORITY=-3"},
		{"priority, not offered", envelope.Envelope{Priority: "3"}, nil, ""},
		{"priority, not one", envelope.Envelope{Priority: "10"}, nil, `451 4.3.5 MT-PRIORITY="10": want -9 to 9`},
		{"by, or late", envelope.Envelope{By: "120;NT"}, offers{"DELIVERBY": ""}, " BY=120;NT"},
		{"by, or late, not offered", envelope.Envelope{By: "120;N"}, nil, ""},
		{"by, or late, the time is over", envelope.Envelope{By: "-5;N"}, offers{"DELIVERBY": ""}, " BY=-5;N"},
		{"by, or back", envelope.Envelope{By: "120;R"}, offers{"DELIVERBY": "60"}, " BY=120;R"},
		{"by, or back, not offered", envelope.Envelope{By: "120;R"}, nil, "554 5.4.7 deliver by: the server does not offer DELIVERBY"},
		{"by, or back, too soon", envelope.Envelope{By: "59;R"}, offers{"DELIVERBY": "60"}, "554 5.4.7 deliver by: 59 seconds are left, the server wants 60"},
		{"by, or back, the time is over", envelope.Envelope{By: "0;R"}, offers{"DELIVERBY": ""}, `451 4.3.5 BY="0;R": want seconds;R or seconds;N, and T behind it for a trace`},
		{"by what", envelope.Envelope{By: "1 X=y;R"}, offers{"DELIVERBY": ""}, `451 4.3.5 BY="1 X=y;R": want seconds;R or seconds;N, and T behind it for a trace`},
		{"hold for", envelope.Envelope{HoldFor: "60"}, offers{"FUTURERELEASE": "3600 2026-11-25T00:00:00Z"}, " HOLDFOR=60"},
		{"hold for too long", envelope.Envelope{HoldFor: "3601"}, offers{"FUTURERELEASE": "3600 2026-11-25T00:00:00Z"}, "554 5.3.3 hold: the server holds for 3600 seconds, not 3601"},
		{"hold for, not offered", envelope.Envelope{HoldFor: "60"}, nil, "554 5.3.3 hold: the server does not offer FUTURERELEASE"},
		{"hold for what", envelope.Envelope{HoldFor: "6 0"}, offers{"FUTURERELEASE": ""}, `451 4.3.5 HOLDFOR="6 0": want seconds`},
		{"hold until", envelope.Envelope{HoldUntil: "2026-11-24T12:00:00Z"}, offers{"FUTURERELEASE": "3600 2026-11-25T00:00:00Z"}, " HOLDUNTIL=2026-11-24T12:00:00Z"},
		{"hold until too late", envelope.Envelope{HoldUntil: "2026-11-26T12:00:00+01:00"}, offers{"FUTURERELEASE": "3600 2026-11-25T00:00:00Z"}, "554 5.3.3 hold: the server holds until 2026-11-25T00:00:00Z"},
		{"hold until when", envelope.Envelope{HoldUntil: "tomorrow"}, offers{"FUTURERELEASE": ""}, `451 4.3.5 HOLDUNTIL="tomorrow": want a time by RFC 3339`},
		{"hold for and until", envelope.Envelope{HoldFor: "1", HoldUntil: "2026-11-26T12:00:00Z"}, offers{"FUTURERELEASE": ""}, "451 4.3.5 hold: HOLDFOR and HOLDUNTIL do not go together"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &Client{esmtp: tt.offers}
			got, err := c.mailCommand(content{}, &tt.e)
			if err != nil {
				got = status.Of(err).Line()
			} else {
				got = got[len("MAIL FROM:<>"):]
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
