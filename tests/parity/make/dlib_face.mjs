// The embeddings of face-api's FaceRecognitionNet, in JSON on standard output.
//
//   npm pack @vladmandic/face-api@1.7.15 && tar xzf vladmandic-face-api-1.7.15.tgz
//   python -m tests.parity.cases.dlib_face FOLDER       (for the package's own weights: its model/,
//                                                        with an images.bin beside them)
//   node tests/parity/make/dlib_face.mjs $PWD/package FOLDER > embeddings.json
import fs from 'fs';

const [from, folder] = process.argv.slice(2);
Object.defineProperty(process, 'versions', { value: {} }); // so that it does not look for node's tfjs
const faceapi = await import(`${from}/dist/face-api.esm.js`);
const tf = faceapi.tf;
const isTypedArray = (x) => ArrayBuffer.isView(x);
tf.env().setPlatform('plain', { now: () => Date.now(), isTypedArray });
await tf.setBackend('cpu');
await tf.ready();
const read = (name) => fs.readFileSync(`${folder}/${name}`);
const manifest = JSON.parse(read('face_recognition_model-weights_manifest.json'));
const bytes = new Uint8Array(read('face_recognition_model.bin')).buffer;
const net = new faceapi.FaceRecognitionNet();
net.loadFromWeightMap(tf.io.decodeWeights(bytes, manifest[0].weights));
const images = Array.from(read('images.bin'));
const x = tf.tensor4d(images, [images.length / (150 * 150 * 3), 150, 150, 3], 'float32');
const y = net.forwardInput({ toBatchTensor: () => x });
process.stdout.write(JSON.stringify(await y.array()));
