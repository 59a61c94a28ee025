'use strict';
// Answers questions of DMARC by the mailauth module of Node. Reads a JSON list of cases on standard input: {zone, from, spf, dkim},
// zone being {name: [record, ...]} with records {type, text}, or {type: "SERVFAIL"}; spf and dkim the domains that pass. Writes a
// line for each: result, policy.
const { evaluateDmarc } = require('mailauth/lib/dmarc');

const failure = code => Object.assign(new Error(code), { code });

const zoneResolver = zone => async (name, type) => {
    name = name.toLowerCase();
    const records = zone[name];
    if (records && records.some(r => r.type === 'SERVFAIL')) {
        throw failure('ESERVFAIL');
    }
    const found = (records || []).filter(r => r.type === type).map(r => (type === 'TXT' ? [r.text] : r.text));
    if (found.length) {
        return found;
    }
    const exists = records || Object.keys(zone).some(n => n.endsWith('.' + name));
    throw failure(exists ? 'ENODATA' : 'ENOTFOUND');
};

const answer = async c => {
    const { response } = await evaluateDmarc({
        headerFrom: [c.from],
        fromFields: 1,
        spfDomains: (c.spf || []).map(domain => ({ domain })),
        dkimDomains: (c.dkim || []).map(domain => ({ domain })),
        resolver: zoneResolver(c.zone)
    });
    return response ? `${response.status.result} ${response.policy || 'none'}` : 'permerror none';
};

(async () => {
    const chunks = [];
    for await (const chunk of process.stdin) {
        chunks.push(chunk);
    }
    for (const c of JSON.parse(Buffer.concat(chunks).toString())) {
        console.log(await answer(c));
    }
})();
