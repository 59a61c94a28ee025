// Node's mailauth as a peer; orders and answers are those of dkimpy.py. NODE_PATH tells where it is.
'use strict';
const fs = require('fs');
const readline = require('readline');
const { dkimSign } = require('mailauth/lib/dkim/sign');
const { dkimVerify } = require('mailauth/lib/dkim/verify');

const [zoneFile, keys] = process.argv.slice(2);
const zone = new Map();
for (const line of fs.readFileSync(zoneFile, 'latin1').split('\n')) {
	const at = line.indexOf(' ');
	if (at > 0) zone.set(line.slice(0, at), line.slice(at + 1));
}

async function resolver(name, type) {
	if (type === 'TXT' && zone.has(name)) return [[zone.get(name)]];
	throw Object.assign(new Error('no such name'), { code: 'ENOTFOUND' });
}

async function verify(file) {
	const { results } = await dkimVerify(fs.readFileSync(file), { resolver });
	const { status } = results[0];
	return status.result === 'pass' ? 'pass' : `${status.result}: ${status.comment}`;
}

async function sign(file, out, canon, selector) {
	const message = fs.readFileSync(file);
	const algorithm = selector === 'ed' ? 'ed25519-sha256' : 'rsa-sha256';
	const { signatures, errors } = await dkimSign(message, {
		canonicalization: canon, algorithm, signTime: new Date(),
		signatureData: [{
			signingDomain: 'example.org', selector, algorithm, canonicalization: canon,
			privateKey: fs.readFileSync(`${keys}/${selector}.key`, 'utf8'),
		}],
	});
	if (errors.length) throw errors[0].err || new Error(JSON.stringify(errors[0]));
	fs.writeFileSync(out, Buffer.concat([Buffer.from(signatures, 'binary'), message]));
	return 'ok';
}

(async () => {
	for await (const line of readline.createInterface({ input: process.stdin })) {
		const [what, ...args] = line.split(' ');
		let answer;
		try {
			answer = await (what === 'sign' ? sign : verify)(...args);
		} catch (e) {
			answer = `${e.name}: ${e.message}`;
		}
		console.log(answer.replace(/\n/g, ' '));
	}
})();
