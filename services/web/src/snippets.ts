/** Code that runs an exported model on a robot, filled in with its name, its labels and its input size. Pure. */
import { type JobView } from "./contract";

export interface Snippet {
  key: "ftc" | "limelight" | "python";
  file: string;
  code: string;
}

/** Letters, digits, dots, hyphens and underscores of a description, as in the name of the downloaded file. */
export function fileStem(description: string): string {
  return description.replaceAll(/[^\w.-]+/g, "-").replaceAll(/^-+|-+$/g, "") || "model";
}

export function snippets(job: JobView, inputSize: number): Snippet[] {
  const model = `${fileStem(job.description)}-float32.tflite`;
  const listed = job.labels.map((label) => JSON.stringify(label)).join(", ");
  return [
    {
      key: "ftc",
      file: "Detect.java",
      code: `import com.qualcomm.robotcore.eventloop.opmode.LinearOpMode;
import com.qualcomm.robotcore.eventloop.opmode.TeleOp;
import org.firstinspires.ftc.robotcore.external.hardware.camera.WebcamName;
import org.firstinspires.ftc.robotcore.external.tfod.Recognition;
import org.firstinspires.ftc.vision.VisionPortal;
import org.firstinspires.ftc.vision.tfod.TfodProcessor;

@TeleOp(name = "Detect")
public class Detect extends LinearOpMode {
    private static final String[] LABELS = {${listed}};

    @Override
    public void runOpMode() {
        TfodProcessor detector = new TfodProcessor.Builder()
                .setModelFileName("${model}") // in /sdcard/FIRST/tflitemodels
                .setModelLabels(LABELS)
                .setIsModelTensorFlow2(true)
                .setIsModelQuantized(false)
                .setModelInputSize(${inputSize})
                .build();
        detector.setMinResultConfidence(0.6f);
        VisionPortal portal = VisionPortal.easyCreateWithDefaults(
                hardwareMap.get(WebcamName.class, "Webcam 1"), detector);
        waitForStart();
        while (opModeIsActive()) {
            for (Recognition seen : detector.getRecognitions()) {
                double x = (seen.getLeft() + seen.getRight()) / 2;
                telemetry.addData(seen.getLabel(), "%.0f %% at x = %.0f", seen.getConfidence() * 100, x);
            }
            telemetry.update();
        }
        portal.close();
    }
}
`,
    },
    {
      key: "limelight",
      file: "Detect.java",
      code: `import com.qualcomm.hardware.limelightvision.LLResult;
import com.qualcomm.hardware.limelightvision.LLResultTypes;
import com.qualcomm.hardware.limelightvision.Limelight3A;
import com.qualcomm.robotcore.eventloop.opmode.LinearOpMode;
import com.qualcomm.robotcore.eventloop.opmode.TeleOp;

@TeleOp(name = "Detect with Limelight")
public class Detect extends LinearOpMode {
    @Override
    public void runOpMode() {
        Limelight3A limelight = hardwareMap.get(Limelight3A.class, "limelight");
        limelight.pipelineSwitch(0); // the detector pipeline with this model and its labels
        limelight.start();
        waitForStart();
        while (opModeIsActive()) {
            LLResult result = limelight.getLatestResult();
            if (result != null && result.isValid()) {
                for (LLResultTypes.DetectorResult seen : result.getDetectorResults()) {
                    telemetry.addData(seen.getClassName(), "%.1f degrees to the right", seen.getTargetXDegrees());
                }
            }
            telemetry.update();
        }
        limelight.stop();
    }
}
`,
    },
    {
      key: "python",
      file: "detect.py",
      code: `"""pip install ai-edge-litert numpy pillow"""
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

LABELS = [${listed}]

model = Interpreter("${model}")
model.allocate_tensors()
(camera,) = model.get_input_details()
height, width = camera["shape"][1:3]

picture = Image.open(sys.argv[1]).convert("RGB")
pixels = np.asarray(picture.resize((width, height)), np.float32) / 127.5 - 1
model.set_tensor(camera["index"], pixels[None])
model.invoke()
boxes, classes, scores, count = (model.get_tensor(out["index"])[0] for out in model.get_output_details())
for (top, left, bottom, right), label, score in zip(boxes, classes, scores):
    if score >= 0.6:
        x, y = (left + right) / 2 * picture.width, (top + bottom) / 2 * picture.height
        print(f"{LABELS[int(label)]} {score:.0%} at {x:.0f}, {y:.0f}")
`,
    },
  ];
}
